//! A ClientHello by hand, for what no client would say.

/// The suite that everybody speaks.
pub const ECDHE_ECDSA_AES128: u16 = 0xc02b;

/// Groups: x25519. Signatures: ecdsa_secp256r1_sha256. Formats of points: plain. Extended master secret.
const EXTENSIONS: &[u8] = b"\x00\x0a\x00\x04\x00\x02\x00\x1d\x00\x0d\x00\x04\x00\x02\x04\x03\x00\x0b\x00\x02\x01\x00\x00\x17\x00\x00";

/// A ClientHello of TLS 1.2 that offers these suites and has some extensions more, as a record; `first` is the type of the
/// message.
#[must_use]
pub fn hello(first: u8, suites: &[u16], more: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.push(0);
    body.extend((suites.len() as u16 * 2).to_be_bytes());
    body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
    body.extend([1, 0]);
    let extensions = [EXTENSIONS, more].concat();
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    record(&message(first, &body))
}

/// A message of a handshake.
#[must_use]
pub fn message(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, 0], &(body.len() as u16).to_be_bytes()[..], body].concat()
}

/// A record that carries it.
#[must_use]
pub fn record(payload: &[u8]) -> Vec<u8> {
    [&[22, 3, 1], &(payload.len() as u16).to_be_bytes()[..], payload].concat()
}

/// An extension.
#[must_use]
pub fn extension(number: u16, body: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), &(body.len() as u16).to_be_bytes()[..], body].concat()
}

/// The names that a client asks for, each with its kind (0 is a host).
#[must_use]
pub fn names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let one = |(kind, name): &(u8, &[u8])| [&[*kind], &(name.len() as u16).to_be_bytes()[..], name].concat();
    let list = names.iter().flat_map(one).collect::<Vec<u8>>();
    extension(0, &[&(list.len() as u16).to_be_bytes()[..], &list].concat())
}
