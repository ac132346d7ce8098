//! The odder half of the table: curves, signatures, encodings, and chains that no honest CA ever made.

use super::*;

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// An RSA key of 2,048 bits that everybody knows: nothing here makes RSA keys.
const RSA: &[u8] = include_bytes!("rsa-2048.pk8");

/// `id-ecPublicKey` with a curve that is described instead of named: as CVE-2020-0601 had it.
fn described_curve() -> Node {
    let number = |bytes: &[u8]| Node { tag: 2, value: Value::Bytes(bytes.to_vec()) };
    let field = Node { tag: 0x30, value: Value::Nodes(vec![number(&ORDER)]) };
    Node { tag: 0x30, value: Value::Nodes(vec![number(&[1]), field, number(&ORDER)]) }
}

/// The numbers r and s of a certificate's signature.
fn signature(certificate: &mut Node) -> Vec<Node> {
    let bytes = certificate.nodes()[2].bytes()[1..].to_vec();
    Node::read(&bytes).0.nodes().clone()
}

fn with_signature(certificate: &mut Node, numbers: Vec<Node>) {
    let numbers = Node { tag: 0x30, value: Value::Nodes(numbers) };
    *certificate.nodes()[2].bytes() = [vec![0], numbers.write()].concat();
}

/// A number modulo the order of P-256, negated, as DER has it.
fn mirrored(number: &[u8]) -> Vec<u8> {
    let mut padded = vec![0; 33 - number.len()];
    padded.extend(number);
    let (mut borrow, mut out) = (0i32, [0; 33]);
    for at in (0..33).rev() {
        let order = if at == 0 { 0 } else { ORDER[at - 1] };
        let digit = i32::from(order) - i32::from(padded[at]) - borrow;
        borrow = i32::from(digit < 0);
        out[at] = (digit & 0xff) as u8;
    }
    let first = out.iter().position(|byte| *byte != 0).unwrap();
    if out[first] < 0x80 { out[first..].to_vec() } else { [&[0][..], &out[first..]].concat() }
}

/// The extension with this OID, of those of a `TBSCertificate`.
fn extension<'a>(tbs: &'a mut [Node], oid: &[u8]) -> &'a mut Vec<Node> {
    let mut all = tbs[tbs::EXTENSIONS].nodes()[0].nodes().iter_mut().map(Node::nodes);
    all.find(|one| matches!(&one[0].value, Value::Bytes(bytes) if bytes == oid)).unwrap()
}

const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];
const EXTENDED_KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x25];

impl Rows<'_> {
    /// Keys and signatures that are unusual and right: they come in.
    pub(super) fn odd_and_good(&mut self) {
        let (ca, role) = (self.ca, self.role);
        self.rows.push(rsa(ca, role));
        let middle = ca.below_with("P-384 middle", &rcgen::PKCS_ECDSA_P384_SHA384, |_| {});
        self.below("by an intermediate on P-384", None, &[&middle]);
        let middle = ca.below_with("Ed25519 middle", &rcgen::PKCS_ED25519, |_| {});
        self.below("by an intermediate of Ed25519", None, &[&middle]);
        // Who has a certificate can make a second one of it, with another fingerprint: nothing may hang on that.
        let Leaf { der, key } = leaf(ca, role, |_| {});
        let (mut certificate, _) = Node::read(&der);
        let mut numbers = signature(&mut certificate);
        let other = mirrored(numbers[1].bytes());
        *numbers[1].bytes() = other;
        with_signature(&mut certificate, numbers);
        self.row("good with its signature mirrored", None, vec![certificate.write()], key);
        self.altered("good with a negative serial number", None, |tbs| {
            *tbs[tbs::SERIAL].bytes() = vec![0x81]
        });
        self.altered("good without a serial number", None, |tbs| tbs[tbs::SERIAL].bytes().clear());
        self.altered("good with the serial number zero", None, |tbs| *tbs[tbs::SERIAL].bytes() = vec![0]);
    }

    /// A leaf changed after the fact and signed again, for better or worse.
    fn altered(&mut self, name: &'static str, kind: Option<Kind>, change: impl FnOnce(&mut Vec<Node>)) {
        let Leaf { der, key } = leaf(self.ca, self.role, |_| {});
        let der = resigned(&der, &self.ca.key(), change);
        self.row(name, kind, vec![der], key);
    }

    pub(super) fn keys(&mut self) {
        self.changed("a key on a curve that it describes itself", Kind::WeakSignature, |tbs| {
            tbs[tbs::KEY].nodes()[0].nodes()[1] = described_curve();
        });
        self.changed("a key that is the point at infinity", Kind::BadSignature, |tbs| {
            *tbs[tbs::KEY].nodes()[1].bytes() = vec![0, 0];
        });
        self.changed("a key that is a compressed point", Kind::BadSignature, |tbs| {
            let key = tbs[tbs::KEY].nodes()[1].bytes();
            key.truncate(34);
            key[1] = 2;
        });
        self.changed("a key as long as one of P-384", Kind::BadSignature, |tbs| {
            tbs[tbs::KEY].nodes()[1].bytes().resize(98, 0x5a);
        });
        self.changed("a key of P-256 said to be RSA", Kind::WeakSignature, |tbs| {
            let rsa = vec![0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
            let oid = Node { tag: 6, value: Value::Bytes(rsa) };
            let null = Node { tag: 5, value: Value::Bytes(Vec::new()) };
            tbs[tbs::KEY].nodes()[0].value = Value::Nodes(vec![oid, null]);
        });
    }

    pub(super) fn signatures(&mut self) {
        let ca = self.ca;
        self.changed("signed with SHA-256 and said to be SHA-384", Kind::BadSignature, |tbs| {
            *tbs[tbs::ALGORITHM].nodes()[0].bytes() = vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
        });
        self.changed("signed by a curve and said to be RSA", Kind::WeakSignature, |tbs| {
            let oid = vec![0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11];
            *tbs[tbs::ALGORITHM].nodes()[0].bytes() = oid;
        });
        self.bent_signature("a signature with a byte behind it", |certificate| {
            certificate.nodes()[2].bytes().push(0);
        });
        self.bent_signature("a signature with a third number", |certificate| {
            let mut numbers = signature(certificate);
            numbers.push(numbers[0].clone());
            with_signature(certificate, numbers);
        });
        self.bent_signature("a signature whose numbers are the order", |certificate| {
            let mut numbers = signature(certificate);
            for number in &mut numbers {
                *number.bytes() = [&[0][..], &ORDER].concat();
            }
            with_signature(certificate, numbers);
        });
        self.bent_signature("the signature of another certificate", |certificate| {
            let other = leaf(ca, Role::Client, |p| p.serial_number = Some(SerialNumber::from_slice(&[7])));
            let (mut other, _) = Node::read(&other.der);
            let numbers = signature(&mut other);
            with_signature(certificate, numbers);
        });
        self.spoilt("a signature with unused bits", Kind::BadCertificate, |der| {
            let (mut certificate, _) = Node::read(der);
            certificate.nodes()[2].bytes()[0] = 3;
            *der = certificate.write();
        });
    }

    fn bent_signature(&mut self, name: &'static str, bend: impl FnOnce(&mut Node)) {
        self.spoilt(name, Kind::BadSignature, |der| {
            let (mut certificate, _) = Node::read(der);
            bend(&mut certificate);
            *der = certificate.write();
        });
    }

    pub(super) fn encodings(&mut self) {
        self.changed("version 1 with extensions", Kind::BadCertificate, |tbs| {
            tbs.remove(tbs::VERSION);
        });
        self.changed("true written as one", Kind::BadCertificate, |tbs| {
            *extension(tbs, &BASIC_CONSTRAINTS)[1].bytes() = vec![1];
        });
        self.changed("something behind its extensions", Kind::BadCertificate, |tbs| {
            tbs.push(Node { tag: 5, value: Value::Bytes(Vec::new()) });
        });
        self.changed("a byte behind its extended key usage", Kind::BadCertificate, |tbs| {
            extension(tbs, &EXTENDED_KEY_USAGE).last_mut().unwrap().bytes().push(0);
        });
        self.changed("a date without seconds", Kind::BadCertificate, |tbs| {
            *tbs[tbs::VALIDITY].nodes()[1].bytes() = b"3001010000Z".to_vec();
        });
        self.changed("the thirtieth of February", Kind::BadCertificate, |tbs| {
            *tbs[tbs::VALIDITY].nodes()[1].bytes() = b"300230000000Z".to_vec();
        });
        self.changed("its issuer in other letters", Kind::UntrustedIssuer, |tbs| {
            let name = tbs[3].nodes()[0].nodes()[0].nodes()[1].bytes();
            name.make_ascii_uppercase();
        });
        self.changed("its issuer in another kind of text", Kind::UntrustedIssuer, |tbs| {
            tbs[3].nodes()[0].nodes()[0].nodes()[1].tag = 0x13;
        });
    }

    pub(super) fn uses(&mut self) {
        self.made("for anything at all", Kind::WrongUse, |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
        });
        self.made("for time stamps", Kind::WrongUse, |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::TimeStamping];
        });
        self.changed("for nothing", Kind::BadCertificate, |tbs| {
            *extension(tbs, &EXTENDED_KEY_USAGE).last_mut().unwrap().bytes() = vec![0x30, 0];
        });
        self.made("only a promise of a certificate", Kind::BadCertificate, |p| {
            let poison = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 3];
            let mut extension = CustomExtension::from_oid_content(&poison, vec![5, 0]);
            extension.set_criticality(true);
            p.custom_extensions = vec![extension];
        });
    }

    pub(super) fn lineages(&mut self) {
        let ca = self.ca;
        let Day { now, .. } = ca.day;
        let later = ca.below("later", |p| p.not_before = now + Duration::hours(1));
        self.below("by an intermediate that is not valid yet", Some(Kind::NotYetValid), &[&later]);
        let outside = ca.below("outside", |p| {
            let excluded_subtrees = vec![GeneralSubtree::DnsName(NAME.to_owned())];
            p.name_constraints = Some(NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees });
        });
        self.below("among its intermediate's forbidden names", Some(Kind::WrongUse), &[&outside]);
        let strange = ca.below("strange", |p| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 2], vec![5, 0]);
            extension.set_criticality(true);
            p.custom_extensions = vec![extension];
        });
        self.below("by an intermediate nobody understands", Some(Kind::BadCertificate), &[&strange]);
        let mut forged = ca.below("forged", |_| {});
        *forged.der.last_mut().unwrap() ^= 1;
        self.below("by an intermediate with a wrong signature", Some(Kind::BadSignature), &[&forged]);
        self.below(
            "with a CA of the same name behind it",
            Some(Kind::BadSignature),
            &[&self.ca.other("Hostile CA")],
        );
        self.described_ca();
        self.loops();
        let own = self.ca.other("own");
        let Leaf { der, key } = leaf(&own, self.role, |_| {});
        let good = leaf(ca, self.role, |_| {}).der;
        self.row(
            "with somebody's good certificate behind it",
            Some(Kind::UntrustedIssuer),
            vec![der, good],
            key,
        );
        let Leaf { der, key } = leaf(&own, self.role, |_| {});
        self.row("with the CA behind it", Some(Kind::UntrustedIssuer), vec![der, ca.der.clone()], key);
        self.stolen_names();
    }

    /// The CA's own certificate, but for a curve on which the forger knows the key.
    fn described_ca(&mut self) {
        let twin = self.ca.other("Hostile CA");
        let der = resigned(&self.ca.der, &twin.key(), |tbs| {
            tbs[tbs::KEY].nodes()[0].nodes()[1] = described_curve();
        });
        let Leaf { der: leaf, key } = leaf(&twin, self.role, |_| {});
        self.row("below the CA's key on another curve", Some(Kind::BadSignature), vec![leaf, der], key);
    }

    /// Two CAs that vouch for each other, and for nobody else.
    fn loops(&mut self) {
        let (one, other) = (self.ca.other("one"), self.ca.other("other"));
        let crossed = |ca: &Ca, by: &Ca, name| {
            let key = KeyPair::try_from(ca.key().as_slice()).unwrap();
            ca_params(name, ca.day).signed_by(&key, &*by.issuer).unwrap().der().to_vec()
        };
        let (one_by_other, other_by_one) = (crossed(&one, &other, "one"), crossed(&other, &one, "other"));
        let Leaf { der, key } = leaf(&one, self.role, |_| {});
        let mut chain = vec![der];
        for _ in 0..3 {
            chain.extend([one_by_other.clone(), other_by_one.clone()]);
        }
        self.row("by two CAs that vouch for each other", Some(Kind::UntrustedIssuer), chain, key);
    }

    /// A leaf that a good leaf signed: it is no CA, whatever it is called.
    fn stolen_names(&mut self) {
        let no_ca = self.ca.below("leaf", |p| {
            p.is_ca = IsCa::ExplicitNoCa;
            p.extended_key_usages = vec![purpose(self.role)];
            p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        });
        self.below("by somebody with a good certificate", Some(Kind::WrongUse), &[&no_ca]);
    }

    /// More than anybody needs.
    pub(super) fn crowds(&mut self) {
        let mut path = vec![self.ca.below("0", |_| {})];
        for number in 1..100 {
            let next = path[0].below(&number.to_string(), |_| {});
            path.insert(0, next);
        }
        let path: Vec<&Ca> = path.iter().collect();
        self.below("by a hundred intermediates", Some(Kind::BadCertificate), &path);
        let twins: Vec<Ca> = (0..60).map(|_| self.ca.below("twin", |_| {})).collect();
        let Leaf { der, key } = leaf(&self.ca.other("twin"), self.role, |_| {});
        let chain = core::iter::once(der).chain(twins.iter().map(|twin| twin.der.clone())).collect();
        self.row("with sixty possible issuers", Some(Kind::BadCertificate), chain, key);
        let large = |size: usize| {
            move |p: &mut CertificateParams| {
                let content = [vec![4, 0x83], size.to_be_bytes()[5..].to_vec(), vec![0x5a; size]].concat();
                let oid = [1, 3, 6, 1, 4, 1, 99999, 3];
                p.custom_extensions = vec![CustomExtension::from_oid_content(&oid, content)];
            }
        };
        let fits = leaf(self.ca, self.role, large(30_000));
        self.one("good with thirty thousand bytes of nothing", None, fits);
        self.made("with a megabyte of nothing", Kind::TooLarge, large(1 << 20));
    }
}

/// A good certificate of an RSA key.
#[must_use]
pub fn rsa(ca: &Ca, role: Role) -> Case {
    let key = KeyPair::try_from(RSA).unwrap();
    let der = leaf_params(role, ca.day).signed_by(&key, &*ca.issuer).unwrap().der().to_vec();
    Case { name: "RSA", kind: None, chain: vec![der], key: key.serialize_der(), crls: Vec::new() }
}
