//! A client that does an honest handshake and then writes its records by hand: any type, any length, any padding.
//!
//! It speaks AES-128-GCM, which is what our servers choose, with the keys of its handshake: what it says is always
//! authentic. What a server makes of it is then a question of the protocol and never of a key.

use crate::reckless::{VERSIONS, calling, client, talk};
use crate::{Bench, End, PATIENCE, pipe, read_some, run, write_all};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk};
use rustls::{ConnectionTrafficSecrets, KeyLog};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use tls::{Front, Session};

/// ChangeCipherSpec, as a type of record.
pub const CCS: u8 = 20;
/// An alert.
pub const ALERT: u8 = 21;
/// A message of the handshake.
pub const HANDSHAKE: u8 = 22;
/// What the application says.
pub const DATA: u8 = 23;

/// What a server said: the type of a record and what was in it.
pub type Record = (u8, Vec<u8>);

/// The client, after its handshake.
pub struct Forger {
    near: End,
    new: bool,
    ours: Keys,
    theirs: Keys,
    heard: Vec<u8>,
}

impl Forger {
    /// A client of the front (of TLS 1.3 if it is a new one), and the session that the front made of it.
    #[must_use]
    pub fn meet(bench: &Bench, front: &Rc<Front>, name: &str, new: bool) -> (Session<End>, Self) {
        let (near, far) = pipe(100_000);
        let (mut near, far) = (near.narrow(40_000), far.narrow(40_000));
        let log = Arc::new(Overheard::default());
        let mut config = client(VERSIONS[usize::from(new)], None);
        config.key_log = log.clone();
        config.enable_secret_extraction = true;
        let mut connection = calling(&Arc::new(config), name);
        let (front, timers) = (front.clone(), bench.tasks.timers().clone());
        run(
            &bench.tasks,
            async move {
                let mut session = front.accept(far, 443, &timers, PATIENCE).await.unwrap().0;
                write_all(&mut session, b"!").await.unwrap();
                session
            },
            async move {
                // One byte of an answer: whatever belongs to the handshake has been heard then.
                talk(&mut connection, &mut near, b"", 1).await.unwrap();
                let secrets = connection.dangerous_extract_secrets().unwrap();
                let ours = Keys::new(secrets.tx, log.of("CLIENT_TRAFFIC_SECRET_0"));
                let theirs = Keys::new(secrets.rx, log.of("SERVER_TRAFFIC_SECRET_0"));
                Self { near, new, ours, theirs, heard: Vec::new() }
            },
        )
    }

    /// A record of that type; `padding` zeros stand behind what it carries in TLS 1.3.
    #[must_use]
    pub fn record(&mut self, kind: u8, payload: &[u8], padding: usize) -> Vec<u8> {
        if self.new { self.ours.seal_new(kind, payload, padding) } else { self.ours.seal_old(kind, payload) }
    }

    /// Says it; false when nobody takes it any more.
    pub async fn say(&mut self, bytes: &[u8]) -> bool {
        write_all(&mut self.near, bytes).await.is_ok()
    }

    /// Says it in a record of that type.
    pub async fn send(&mut self, kind: u8, payload: &[u8]) -> bool {
        let record = self.record(kind, payload, 0);
        self.say(&record).await
    }

    /// A request for new keys, which are used from the next record on.
    pub async fn update(&mut self) -> bool {
        let sent = self.send(HANDSHAKE, &[24, 0, 0, 1, 1]).await;
        self.ours.update();
        sent
    }

    /// The next record of the server; nothing at the end.
    pub async fn hear(&mut self) -> Option<Record> {
        loop {
            if let Some(length) = whole(&self.heard) {
                let mut record: Vec<u8> = self.heard.drain(..length).collect();
                let plain = self.theirs.open(&mut record, self.new);
                if plain == (HANDSHAKE, vec![24, 0, 0, 1, 0]) {
                    self.theirs.update();
                }
                return Some(plain);
            }
            let more = read_some(&mut self.near).await.unwrap_or_default();
            if more.is_empty() {
                return None;
            }
            self.heard.extend(more);
        }
    }

    /// Everything that the server says until its end.
    pub async fn rest(&mut self) -> Vec<Record> {
        let mut all = Vec::new();
        while let Some(record) = self.hear().await {
            all.push(record);
        }
        all
    }
}

/// A record that is sealed with nothing.
#[must_use]
pub fn plain(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3], &(payload.len() as u16).to_be_bytes()[..], payload].concat()
}

/// How long the first record is, if it is all there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let length = 5 + usize::from(u16::from_be_bytes([*bytes.get(3)?, *bytes.get(4)?]));
    (bytes.len() >= length).then_some(length)
}

/// What a client's log of keys would have: the secrets of TLS 1.3.
#[derive(Debug, Default)]
struct Overheard(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Overheard {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push((label.to_owned(), secret.to_vec()));
    }
}

impl Overheard {
    fn of(&self, label: &str) -> Vec<u8> {
        let log = self.0.lock().unwrap();
        log.iter().find(|(name, _)| name == label).map(|(_, secret)| secret.clone()).unwrap_or_default()
    }
}

/// The keys of one direction.
struct Keys {
    secret: Vec<u8>,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Keys {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets), secret: Vec<u8>) -> Self {
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            panic!("our servers prefer AES-128-GCM")
        };
        Self { secret, key: sealing(key.as_ref()), iv: iv.as_ref().try_into().unwrap(), sequence }
    }

    /// RFC 8446, 7.2.
    fn update(&mut self) {
        self.secret = expanded(&self.secret, "traffic upd", 32);
        self.key = sealing(&expanded(&self.secret, "key", 16));
        self.iv = expanded(&self.secret, "iv", 12).try_into().unwrap();
        self.sequence = 0;
    }

    /// The nonce of the next record: the number of the record in the last eight bytes.
    fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = self.iv;
        nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()).for_each(|(byte, number)| *byte ^= number);
        self.sequence += 1;
        nonce
    }

    fn seal_new(&mut self, kind: u8, payload: &[u8], padding: usize) -> Vec<u8> {
        let mut inner = [payload, &[kind], &vec![0; padding]].concat();
        let head = header(DATA, inner.len() + 16);
        let nonce = Nonce::assume_unique_for_key(self.nonce());
        self.key.seal_in_place_append_tag(nonce, Aad::from(head), &mut inner).unwrap();
        [&head[..], &inner].concat()
    }

    fn seal_old(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        let (mut inner, told) = (payload.to_vec(), told(self.sequence, kind, payload.len()));
        let nonce = self.nonce();
        let explicit = nonce[4..].to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(told), &mut inner).unwrap();
        [&header(kind, 8 + inner.len())[..], &explicit, &inner].concat()
    }

    fn open(&mut self, record: &mut [u8], new: bool) -> Record {
        let (head, body) = record.split_first_chunk_mut::<5>().unwrap();
        if new && head[0] == CCS {
            return (CCS, body.to_vec());
        }
        if new {
            let nonce = Nonce::assume_unique_for_key(self.nonce());
            let inner = self.key.open_in_place(nonce, Aad::from(*head), body).expect("it is the server's");
            let end = inner.iter().rposition(|byte| *byte != 0).unwrap();
            return (inner[end], inner[..end].to_vec());
        }
        let told = told(self.sequence, head[0], body.len() - 24);
        self.sequence += 1;
        let (explicit, sealed) = body.split_at_mut(8);
        let nonce = [&self.iv[..4], explicit].concat().try_into().unwrap();
        let nonce = Nonce::assume_unique_for_key(nonce);
        (
            head[0],
            self.key.open_in_place(nonce, Aad::from(told), sealed).expect("it is the server's").to_vec(),
        )
    }
}

fn header(kind: u8, length: usize) -> [u8; 5] {
    let [high, low] = (length as u16).to_be_bytes();
    [kind, 3, 3, high, low]
}

/// What TLS 1.2 seals beside the words.
fn told(sequence: u64, kind: u8, length: usize) -> [u8; 13] {
    [&sequence.to_be_bytes()[..], &header(kind, length)].concat().try_into().unwrap()
}

fn sealing(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).unwrap())
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label without a context.
fn expanded(secret: &[u8], label: &str, length: usize) -> Vec<u8> {
    let label = format!("tls13 {label}");
    let (size, named, none) = ((length as u16).to_be_bytes(), [label.len() as u8], [0]);
    let info: [&[u8]; 4] = [&size, &named, label.as_bytes(), &none];
    let mut out = vec![0; length];
    let prk = Prk::new_less_safe(HKDF_SHA256, secret);
    prk.expand(&info, Bytes(length)).unwrap().fill(&mut out).unwrap();
    out
}
