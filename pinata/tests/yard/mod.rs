//! What the tests of the piñata stand on: a CA whose certificates can be bent, piñatas of it, and visitors.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, dead_code)]

use pinata::{Door, Keys, Pinata, Rules};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tasks::Tasks;
use tls::mint::Minted;
use tls::{Calendar, Key};
use tls_bench::hostile::{self, Ca, Case, NAME, Role};
use tls_bench::reckless::{Shown, VERSIONS, answering, calling, client, converse, server};
use tls_bench::{End, TODAY, pipe, read_all, run};

/// What is in every piñata here.
pub(crate) const SECRET: &[u8] = b"correct horse battery staple";

/// Where visitors come from.
pub(crate) const PEER: &str = "198.51.100.77:50000";

/// A place to hang piñatas.
pub(crate) struct Yard {
    pub(crate) ca: Ca,
    pub(crate) calendar: Calendar,
    pub(crate) tasks: Tasks,
    shown: [Shown; 3],
}

impl Default for Yard {
    fn default() -> Self {
        let ca = Ca::new("Hostile CA");
        let shown = [Role::Server, Role::Client, Role::Client].map(|role| good(&ca, role));
        Self { ca, calendar: Calendar::at(TODAY), tasks: Tasks::new(), shown }
    }
}

/// A certificate with which nothing is wrong.
pub(crate) fn good(ca: &Ca, role: Role) -> Shown {
    let case = hostile::good(ca, role);
    Shown { chain: case.chain, key: case.key }
}

impl Yard {
    /// A piñata of this yard's CA.
    pub(crate) fn hang(&self, crls: &[Vec<u8>]) -> Rc<Pinata> {
        self.hang_with(crls, SECRET.to_vec())
    }

    pub(crate) fn hang_with(&self, crls: &[Vec<u8>], words: Vec<u8>) -> Rc<Pinata> {
        let minted = |own: &Shown| Minted { chain: own.chain.clone(), key: Key::new(own.key.clone()) };
        let shown = [&self.shown[0], &self.shown[1], &self.shown[2]].map(minted);
        let keys = Keys::given(self.ca.der.clone(), crls.to_vec(), shown).unwrap();
        self.pinata(keys, words)
    }

    /// A piñata of this yard's CA whose own keys are RSA.
    pub(crate) fn hang_of_rsa(&self) -> Rc<Pinata> {
        let shown = [Role::Server, Role::Client, Role::Client].map(|role| {
            let case = hostile::rsa(&self.ca, role);
            Minted { chain: case.chain, key: Key::new(case.key) }
        });
        self.pinata(Keys::given(self.ca.der.clone(), Vec::new(), shown).unwrap(), SECRET.to_vec())
    }

    /// A piñata whose keys nobody has.
    pub(crate) fn hang_forgotten(&self) -> Rc<Pinata> {
        self.pinata(Keys::mint(&["pinata.example.org"], TODAY).unwrap(), SECRET.to_vec())
    }

    fn pinata(&self, keys: Keys, words: Vec<u8>) -> Rc<Pinata> {
        let rules = Rules::new(vec![("192.0.2.7".parse().unwrap(), 24)], vec!["192.0.2.1".parse().unwrap()]);
        let bounty = "A <b>demo</b> & nothing more".to_owned();
        Rc::new(Pinata::new(keys, words, bounty, Some(rules), self.calendar.clone()).unwrap())
    }

    /// Shows a certificate at a door, as server or client, and says what was heard there, or why nothing was.
    pub(crate) fn show(
        &self,
        pinata: &Rc<Pinata>,
        door: Door,
        case: &Case,
        version: usize,
    ) -> Result<Vec<u8>, String> {
        let shown = Shown { chain: case.chain.clone(), key: case.key.clone() };
        let visitor = async move |mut knocked: End, mut home: End| match door {
            Door::Server => {
                let config = Arc::new(client(VERSIONS[version], Some(&shown)));
                converse(&mut calling(&config, NAME), &mut knocked, b"").await
            }
            Door::CallBack => {
                assert_eq!(read_all(&mut knocked).await.unwrap(), b"", "nothing is said before the call");
                converse(&mut answering(server(VERSIONS[version], &shown)), &mut home, b"").await
            }
            Door::Client => {
                converse(&mut answering(server(VERSIONS[version], &shown)), &mut knocked, b"").await
            }
        };
        self.visit(pinata, door, PEER, visitor).map_err(|error| format!("{error:?}"))
    }

    /// Lets `visitor` knock; it gets its end of the connection, and the end that it is called back at.
    pub(crate) fn visit<T: 'static, V>(&self, pinata: &Rc<Pinata>, door: Door, peer: &str, visitor: V) -> T
    where
        V: AsyncFnOnce(End, End) -> T + 'static,
    {
        let ((near, far), (home, line)) = (pipe(4096), pipe(4096));
        let (pinata, timers) = (pinata.clone(), self.tasks.timers().clone());
        let peer: SocketAddr = peer.parse().unwrap();
        let dial = move |address| {
            assert_eq!(address, SocketAddr::new(peer.ip(), 40001));
            core::future::ready(Ok(line))
        };
        let receiving = async move { pinata.receive(door, far, peer, &timers, dial).await };
        let ((), heard) = run(&self.tasks, receiving, async move { visitor(near, home).await });
        heard
    }
}
