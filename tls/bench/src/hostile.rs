//! Certificates that nobody should accept, each with the one thing that is wrong with it, and a few that are
//! unusual and good. The same table serves both directions: a server that looks at clients, and a client that
//! looks at servers.

mod odd;

pub use odd::rsa;

use crate::TODAY;
use crate::der::{Node, Value, resigned, tbs};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType, DnValue,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    NameConstraints, PublicKeyData, RevokedCertParams, SerialNumber, SignatureAlgorithm,
};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use tls::Kind;

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A client shows it.
    Client,
    /// A server shows it.
    Server,
}

/// The name that the certificates of servers are for.
pub const NAME: &str = "example.org";

/// One row of the table.
pub struct Case {
    /// What is wrong with it, or what is unusual.
    pub name: &'static str,
    /// What it must be refused as; nothing if it is good.
    pub kind: Option<Kind>,
    /// The chain to show.
    pub chain: Vec<Vec<u8>>,
    /// The key to sign with, in PKCS #8.
    pub key: Vec<u8>,
    /// The revocation lists that the verifier has.
    pub crls: Vec<Vec<u8>>,
}

/// A CA whose certificates can be bent.
pub struct Ca {
    issuer: Arc<Issuer<'static, KeyPair>>,
    /// Its certificate.
    pub der: Vec<u8>,
    day: Day,
}

/// When certificates are made, and how much later those begin that are not valid yet.
#[derive(Clone, Copy)]
struct Day {
    now: OffsetDateTime,
    soon: Duration,
}

impl Day {
    fn at(now: core::time::Duration, soon: Duration) -> Self {
        Self { now: OffsetDateTime::from_unix_timestamp(now.as_secs() as i64).unwrap(), soon }
    }
}

fn params(name: &str, Day { now, .. }: Day) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(30);
    params.use_authority_key_identifier_extension = true;
    params
}

fn ca_params(name: &str, day: Day) -> CertificateParams {
    let mut params = params(name, day);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Ca {
    /// A root of [`TODAY`], for whoever winds the clock: what is not valid yet begins with the next second.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::of(name, Day::at(TODAY, Duration::seconds(1)))
    }

    /// A root of a day on which time goes by: what is not valid yet begins with the next day.
    #[must_use]
    pub fn on(now: core::time::Duration, name: &str) -> Self {
        Self::of(name, Day::at(now, Duration::days(1)))
    }

    fn of(name: &str, day: Day) -> Self {
        let (params, key) = (ca_params(name, day), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().to_vec();
        Self { issuer: Arc::new(Issuer::new(params, key)), der, day }
    }

    /// Another root of the same day.
    fn other(&self, name: &str) -> Self {
        Self::of(name, self.day)
    }

    /// An intermediate below this one.
    #[must_use]
    pub fn below(&self, name: &str, bend: impl FnOnce(&mut CertificateParams)) -> Self {
        self.below_with(name, &rcgen::PKCS_ECDSA_P256_SHA256, bend)
    }

    fn below_with(
        &self,
        name: &str,
        algorithm: &'static SignatureAlgorithm,
        bend: impl FnOnce(&mut CertificateParams),
    ) -> Self {
        let (mut params, key) = (ca_params(name, self.day), KeyPair::generate_for(algorithm).unwrap());
        bend(&mut params);
        let der = params.signed_by(&key, &*self.issuer).unwrap().der().to_vec();
        Self { issuer: Arc::new(Issuer::new(params, key)), der, day: self.day }
    }

    /// The key, in PKCS #8.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    /// A list that revokes this serial number, in date until `until` days from today.
    #[must_use]
    pub fn crl(&self, revoked: &[u8], until: i64) -> Vec<u8> {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from_slice(revoked),
            revocation_time: self.day.now - Duration::hours(2),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: self.day.now - Duration::days(3),
            next_update: self.day.now + Duration::days(until),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&*self.issuer).unwrap().der().to_vec()
    }
}

/// A certificate and its key.
#[derive(Clone)]
struct Leaf {
    der: Vec<u8>,
    key: Vec<u8>,
}

/// The serial number of every leaf.
pub const SERIAL: [u8; 4] = [0x41, 0x42, 0x43, 0x44];

fn purpose(role: Role) -> ExtendedKeyUsagePurpose {
    match role {
        Role::Client => ExtendedKeyUsagePurpose::ClientAuth,
        Role::Server => ExtendedKeyUsagePurpose::ServerAuth,
    }
}

fn leaf_with(
    ca: &Ca,
    role: Role,
    algorithm: &'static SignatureAlgorithm,
    bend: impl FnOnce(&mut CertificateParams),
) -> Leaf {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = leaf_params(role, ca.day);
    bend(&mut params);
    let der = params.signed_by(&key, &*ca.issuer).unwrap().der().to_vec();
    Leaf { der, key: key.serialize_der() }
}

fn leaf_params(role: Role, day: Day) -> CertificateParams {
    let mut params = params("leaf", day);
    params.is_ca = IsCa::ExplicitNoCa;
    params.serial_number = Some(SerialNumber::from_slice(&SERIAL));
    params.subject_alt_names = CertificateParams::new([NAME.to_owned()]).unwrap().subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose(role)];
    params
}

fn leaf(ca: &Ca, role: Role, bend: impl FnOnce(&mut CertificateParams)) -> Leaf {
    leaf_with(ca, role, &rcgen::PKCS_ECDSA_P256_SHA256, bend)
}

/// The first row of the table: a certificate with which nothing is wrong.
#[must_use]
pub fn good(ca: &Ca, role: Role) -> Case {
    let Leaf { der, key } = leaf(ca, role, |_| {});
    Case { name: "nothing is wrong", kind: None, chain: vec![der], key, crls: Vec::new() }
}

/// The table, for one CA.
#[must_use]
pub fn cases(ca: &Ca, role: Role) -> Vec<Case> {
    let mut rows = Rows { ca, role, rows: Vec::new() };
    rows.good();
    rows.odd_and_good();
    rows.lenient();
    rows.issuers();
    rows.dates_and_uses();
    rows.key_uses();
    rows.chains();
    rows.lineages();
    rows.crowds();
    rows.uses();
    rows.bent();
    rows.keys();
    rows.signatures();
    rows.bytes();
    rows.encodings();
    rows.revoked();
    rows.rows
}

struct Rows<'a> {
    ca: &'a Ca,
    role: Role,
    rows: Vec<Case>,
}

impl Rows<'_> {
    fn row(&mut self, name: &'static str, kind: Option<Kind>, chain: Vec<Vec<u8>>, key: Vec<u8>) {
        self.rows.push(Case { name, kind, chain, key, crls: Vec::new() });
    }

    fn one(&mut self, name: &'static str, kind: Option<Kind>, leaf: Leaf) {
        self.row(name, kind, vec![leaf.der], leaf.key);
    }

    /// A leaf made with other parameters.
    fn made(&mut self, name: &'static str, kind: Kind, bend: impl FnOnce(&mut CertificateParams)) {
        let leaf = leaf(self.ca, self.role, bend);
        self.one(name, Some(kind), leaf);
    }

    /// A leaf changed after the fact, and signed again by the CA.
    fn changed(&mut self, name: &'static str, kind: Kind, change: impl FnOnce(&mut Vec<Node>)) {
        let Leaf { der, key } = leaf(self.ca, self.role, |_| {});
        let der = resigned(&der, &self.ca.key(), change);
        self.row(name, Some(kind), vec![der], key);
    }

    /// A leaf whose bytes are changed, and not signed again.
    fn spoilt(&mut self, name: &'static str, kind: Kind, spoil: impl FnOnce(&mut Vec<u8>)) {
        let Leaf { mut der, key } = leaf(self.ca, self.role, |_| {});
        spoil(&mut der);
        self.row(name, Some(kind), vec![der], key);
    }

    /// A leaf below intermediates, nearest first.
    fn below(&mut self, name: &'static str, kind: Option<Kind>, path: &[&Ca]) {
        let Leaf { der, key } = leaf(path[0], self.role, |_| {});
        let chain = core::iter::once(der).chain(path.iter().map(|ca| ca.der.clone())).collect();
        self.row(name, kind, chain, key);
    }

    fn good(&mut self) {
        let (ca, role) = (self.ca, self.role);
        self.rows.push(good(ca, role));
        self.one(
            "no extended key usage: good for all",
            None,
            leaf(ca, role, |p| p.extended_key_usages.clear()),
        );
        self.one("P-384", None, leaf_with(ca, role, &rcgen::PKCS_ECDSA_P384_SHA384, |_| {}));
        self.one("Ed25519", None, leaf_with(ca, role, &rcgen::PKCS_ED25519, |_| {}));
        let middle = ca.below("middle", |_| {});
        self.below("by an intermediate", None, &[&middle]);
        let Leaf { der, key } = leaf(ca, role, |_| {});
        self.row(
            "with a certificate that has nothing to do with it",
            None,
            vec![der, self.ca.other("other").der],
            key,
        );
    }

    /// What webpki does not look at. Nobody else decides here, so these come in; a row that changes is news.
    fn lenient(&mut self) {
        let (ca, role) = (self.ca, self.role);
        let Leaf { der, key } = leaf(ca, role, |_| {});
        let der = resigned(&der, &ca.key(), |tbs| *tbs[tbs::SERIAL].bytes() = vec![0x41; 40]);
        self.row("good though its serial number has 40 bytes", None, vec![der], key);
    }

    fn issuers(&mut self) {
        let role = self.role;
        let own = KeyPair::generate().unwrap();
        let alone = params("leaf", self.ca.day).self_signed(&own).unwrap().der().to_vec();
        self.row("signed by itself", Some(Kind::UntrustedIssuer), vec![alone], own.serialize_der());
        self.one(
            "signed by another CA",
            Some(Kind::UntrustedIssuer),
            leaf(&self.ca.other("other"), role, |_| {}),
        );
        let twin = self.ca.other("Hostile CA");
        self.one(
            "signed by another CA of the same name",
            Some(Kind::BadSignature),
            leaf(&twin, role, |_| {}),
        );
        let Leaf { der, .. } = leaf(self.ca, role, |_| {});
        let other = KeyPair::generate().unwrap().serialize_der();
        self.row("somebody else's certificate", Some(Kind::BadSignature), vec![der], other);
    }

    fn key_uses(&mut self) {
        let (ca, role) = (self.ca, self.role);
        self.one("no key usage: good for all", None, leaf(ca, role, |p| p.key_usages.clear()));
        self.made("its key is not for signatures", Kind::WrongUse, |p| {
            p.key_usages = vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyAgreement];
        });
        for (name, usage) in [
            ("its CA's key is for signatures, not for certificates", KeyUsagePurpose::DigitalSignature),
            ("its CA's key is for lists, not for certificates", KeyUsagePurpose::CrlSign),
        ] {
            let mute = ca.below("mute", |p| p.key_usages = vec![usage]);
            self.below(name, Some(Kind::WrongUse), &[&mute]);
            let below = mute.below("below", |_| {});
            self.below(name, Some(Kind::WrongUse), &[&below, &mute]);
        }
    }

    fn dates_and_uses(&mut self) {
        let Day { now, soon } = self.ca.day;
        self.made("expired a second ago", Kind::Expired, |p| p.not_after = now - Duration::seconds(1));
        self.made("not valid yet", Kind::NotYetValid, |p| p.not_before = now + soon);
        self.made("ends before it begins", Kind::Expired, |p| {
            (p.not_before, p.not_after) = (now + Duration::days(2), now + Duration::days(1));
        });
        let other = if self.role == Role::Client { Role::Server } else { Role::Client };
        self.made("for the other side", Kind::WrongUse, |p| p.extended_key_usages = vec![purpose(other)]);
        self.made("for code signing", Kind::WrongUse, |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        });
        self.made("for OCSP signing", Kind::WrongUse, |p| {
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        });
        self.made("itself a CA", Kind::WrongUse, |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        let (der, key) = (self.ca.der.clone(), self.ca.key());
        self.row("the CA itself", Some(Kind::WrongUse), vec![der], key);
        self.made("an unknown critical extension", Kind::BadCertificate, |p| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            extension.set_criticality(true);
            p.custom_extensions = vec![extension];
        });
    }

    fn chains(&mut self) {
        let ca = self.ca;
        let middle = ca.below("middle", |_| {});
        let Leaf { der, key } = leaf(&middle, self.role, |_| {});
        self.row("without its intermediate", Some(Kind::UntrustedIssuer), vec![der], key);
        let now = ca.day.now;
        let old = ca.below("old", |p| p.not_after = now - Duration::days(1) + Duration::hours(1));
        self.below("by an expired intermediate", Some(Kind::Expired), &[&old]);
        let no_ca = ca.below("no ca", |p| p.is_ca = IsCa::ExplicitNoCa);
        self.below("by a certificate that is no CA", Some(Kind::WrongUse), &[&no_ca]);
        let silent = ca.below("silent", |p| p.is_ca = IsCa::NoCa);
        self.below("by a certificate that does not say", Some(Kind::WrongUse), &[&silent]);
        let short = ca.below("short", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
        let long = short.below("long", |_| {});
        self.below("longer than the intermediate allows", Some(Kind::WrongUse), &[&long, &short]);
        let elsewhere = ca.below("elsewhere", |p| {
            let permitted_subtrees = vec![GeneralSubtree::DnsName("example.com".to_owned())];
            p.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        });
        self.below("outside its intermediate's names", Some(Kind::WrongUse), &[&elsewhere]);
        let wrong = ca.below("wrong", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]);
        self.below("by an intermediate for code signing", Some(Kind::WrongUse), &[&wrong]);
        self.deep();
    }

    fn deep(&mut self) {
        let mut path = vec![self.ca.below("1", |_| {})];
        for name in ["2", "3", "4", "5", "6", "7", "8"] {
            let next = path[0].below(name, |_| {});
            path.insert(0, next);
        }
        let path: Vec<&Ca> = path.iter().collect();
        self.below("by eight intermediates", Some(Kind::BadCertificate), &path);
    }

    fn bent(&mut self) {
        self.changed("version 1 with nothing to say", Kind::BadCertificate, |tbs| {
            tbs.remove(tbs::EXTENSIONS);
            tbs.remove(tbs::VERSION);
        });
        self.changed("version 2", Kind::BadCertificate, |tbs| tbs[tbs::VERSION].nodes()[0].bytes()[0] = 1);
        self.changed("version 4", Kind::BadCertificate, |tbs| tbs[tbs::VERSION].nodes()[0].bytes()[0] = 3);
        self.changed("a date that is none", Kind::BadCertificate, |tbs| {
            let end = tbs[tbs::VALIDITY].nodes()[1].bytes();
            let length = end.len() - 1;
            end[..length].fill(b'9');
        });
        self.changed("a date in local time", Kind::BadCertificate, |tbs| {
            *tbs[tbs::VALIDITY].nodes()[1].bytes() = b"300101000000+0100".to_vec();
        });
        self.changed("an extension twice", Kind::BadCertificate, |tbs| {
            let extensions = tbs[tbs::EXTENSIONS].nodes()[0].nodes();
            let twin = extensions[1].clone();
            extensions.insert(1, twin);
        });
        self.changed("signed with SHA-1", Kind::WeakSignature, |tbs| {
            *tbs[tbs::ALGORITHM].nodes()[0].bytes() = vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
        });
        self.changed("signed with an algorithm that nobody knows", Kind::WeakSignature, |tbs| {
            *tbs[tbs::ALGORITHM].nodes()[0].bytes() = vec![0x2a, 0x03, 0x04, 0x05];
        });
        self.changed("a key on a curve that nobody knows", Kind::WeakSignature, |tbs| {
            let curve = tbs[tbs::KEY].nodes()[0].nodes()[1].bytes();
            *curve = vec![0x2b, 0x81, 0x04, 0x00, 0x0a];
        });
        self.changed("a key that is no point", Kind::BadSignature, |tbs| {
            tbs[tbs::KEY].nodes()[1].bytes()[2..].fill(0x5a);
        });
    }

    fn bytes(&mut self) {
        self.spoilt("a bit of its signature changed", Kind::BadSignature, |der| {
            *der.last_mut().unwrap() ^= 1
        });
        self.spoilt("a bit of its name changed", Kind::BadSignature, |der| {
            let at = der.windows(4).position(|four| four == b"leaf").unwrap();
            der[at] ^= 1;
        });
        self.spoilt("its last byte missing", Kind::BadCertificate, |der| der.truncate(der.len() - 1));
        self.spoilt("a byte too many", Kind::BadCertificate, |der| der.push(0));
        self.spoilt("no certificate at all", Kind::BadCertificate, |der| *der = b"certificate".to_vec());
        self.spoilt("a length in more bytes than it needs", Kind::BadCertificate, |der| {
            let length = [der[2], der[3]];
            der.splice(1..4, [0x83, 0, length[0], length[1]]);
        });
        self.spoilt("an indefinite length", Kind::BadCertificate, |der| {
            der.splice(1..4, [0x80]);
            der.extend([0, 0]);
        });
        self.spoilt("inner and outer algorithm differ", Kind::BadCertificate, |der| {
            let (mut certificate, _) = Node::read(der);
            *certificate.nodes()[1].nodes()[0].bytes() = vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
            *der = certificate.write();
        });
        self.spoilt("a signature of zeros", Kind::BadSignature, |der| {
            let (mut certificate, _) = Node::read(der);
            certificate.nodes()[2].value = Value::Bytes(vec![0, 0x30, 6, 2, 1, 0, 2, 1, 0]);
            *der = certificate.write();
        });
    }

    fn revoked(&mut self) {
        let ca = self.ca;
        let lists = [
            ("on a list that revokes another", None, ca.crl(&[0x77], 9)),
            ("revoked", Some(Kind::Revoked), ca.crl(&SERIAL, 9)),
            ("on a list that is out of date", Some(Kind::RevocationUnknown), ca.crl(&[0x77], -1)),
            ("on nobody's list", Some(Kind::RevocationUnknown), self.ca.other("other").crl(&[0x77], 9)),
            (
                "on a list of a CA of the same name",
                Some(Kind::RevocationUnknown),
                self.ca.other("Hostile CA").crl(&[0x77], 9),
            ),
        ];
        for (name, kind, crl) in lists {
            self.one(name, kind, leaf(ca, self.role, |_| {}));
            if let Some(row) = self.rows.last_mut() {
                row.crls = vec![crl];
            }
        }
    }
}

/// The public key of a key in PKCS #8, for whoever has to tell two apart.
#[must_use]
pub fn public_key(pkcs8: &[u8]) -> Vec<u8> {
    KeyPair::try_from(pkcs8).unwrap().der_bytes().to_vec()
}
