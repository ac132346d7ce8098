//! Just enough DER to break a certificate on purpose: a tree that can be changed and signed again.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

/// A value of DER: a tag, and bytes or further values.
#[derive(Clone)]
pub struct Node {
    /// The tag, one byte.
    pub tag: u8,
    /// What is in it.
    pub value: Value,
}

/// What is in a value.
#[derive(Clone)]
pub enum Value {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Further values.
    Nodes(Vec<Node>),
}

impl Node {
    /// Reads one value and says what follows it.
    #[must_use]
    pub fn read(der: &[u8]) -> (Self, &[u8]) {
        let (length, header) = match der[1] {
            short @ 0..0x80 => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7f);
                (der[2..2 + count].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), 2 + count)
            }
        };
        let (content, rest) = der[header..].split_at(length);
        let value =
            if der[0] & 0x20 == 0 { Value::Bytes(content.to_vec()) } else { Value::Nodes(all(content)) };
        (Self { tag: der[0], value }, rest)
    }

    /// Writes it back.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let content = match &self.value {
            Value::Bytes(bytes) => bytes.clone(),
            Value::Nodes(nodes) => nodes.iter().flat_map(Self::write).collect(),
        };
        let mut der = vec![self.tag];
        match content.len() {
            short @ 0..0x80 => der.push(short as u8),
            long => {
                let bytes: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
                der.push(0x80 | bytes.len() as u8);
                der.extend(bytes);
            }
        }
        der.extend(content);
        der
    }

    /// The values in it.
    pub fn nodes(&mut self) -> &mut Vec<Self> {
        match &mut self.value {
            Value::Nodes(nodes) => nodes,
            Value::Bytes(_) => panic!("no values in tag {:#x}", self.tag),
        }
    }

    /// The bytes in it.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        match &mut self.value {
            Value::Bytes(bytes) => bytes,
            Value::Nodes(_) => panic!("no bytes in tag {:#x}", self.tag),
        }
    }
}

fn all(mut der: &[u8]) -> Vec<Node> {
    let mut nodes = Vec::new();
    while !der.is_empty() {
        let (node, rest) = Node::read(der);
        nodes.push(node);
        der = rest;
    }
    nodes
}

/// Where things are in a `TBSCertificate` of version 3.
pub mod tbs {
    /// `[0]` version.
    pub const VERSION: usize = 0;
    /// The serial number.
    pub const SERIAL: usize = 1;
    /// The inner signature algorithm.
    pub const ALGORITHM: usize = 2;
    /// Both dates.
    pub const VALIDITY: usize = 4;
    /// The public key.
    pub const KEY: usize = 6;
    /// `[3]` extensions.
    pub const EXTENSIONS: usize = 7;
}

/// Changes what is signed in a certificate and signs it again with a P-256 key in PKCS #8.
#[must_use]
pub fn resigned(der: &[u8], pkcs8: &[u8], change: impl FnOnce(&mut Vec<Node>)) -> Vec<u8> {
    let (mut certificate, _) = Node::read(der);
    change(certificate.nodes()[0].nodes());
    let algorithm = certificate.nodes()[0].nodes().iter().find(|node| node.tag == 0x30).unwrap().clone();
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random).unwrap();
    let signature = key.sign(&random, &certificate.nodes()[0].write()).unwrap();
    certificate.nodes()[1] = algorithm;
    *certificate.nodes()[2].bytes() = [&[0], signature.as_ref()].concat();
    certificate.write()
}
