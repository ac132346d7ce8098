//! A piñata as `gatehouse pinata init` makes it, packed, and everything that must not be found of it.

use crate::hunt::public_keys;
use crate::memory::{Needle, drawn_by_ed25519, ed25519, key, p256};
use crate::numbers::{ORDER, drawn, inverse};
use crate::{house, tool};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use std::path::PathBuf;
use std::process::Command;
use tls::mint::pem;
use tls_bench::hostile::{Ca, Role, good};

/// The folder of an operator. It goes with this value.
pub struct Party(tempfile::TempDir);

impl Default for Party {
    fn default() -> Self {
        Self::worth("A test.")
    }
}

impl Party {
    /// A piñata of whose bounty the operator says this.
    #[must_use]
    pub fn worth(bounty: &str) -> Self {
        let party = Self(tempfile::tempdir().expect("a folder"));
        let folder = party.path("site");
        let made = house::run(&["pinata", "init", &folder]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        party.promise(bounty);
        party.pack();
        party
    }

    fn promise(&self, bounty: &str) {
        let sheet = self.path("site/gatehouse.toml");
        let text = std::fs::read_to_string(&sheet).expect("a sheet");
        let line = text.lines().find(|line| line.starts_with("bounty = ")).expect("it speaks of a bounty");
        std::fs::write(&sheet, text.replace(line, &format!("bounty = {bounty:?}"))).expect("it is ours");
    }

    /// Puts another secret into its folder, and says this of it.
    pub fn hide_another(&self, bounty: &str) {
        let mut openssl = Command::new("openssl");
        openssl.args(["genpkey", "-algorithm", "ed25519", "-out", &self.path("site/secret.pem")]);
        assert!(openssl.status().expect("openssl is installed").success());
        self.promise(bounty);
    }

    /// A piñata that makes its keys itself.
    #[must_use]
    pub fn of_nobody() -> Self {
        let party = Self(tempfile::tempdir().expect("a folder"));
        let made = house::run(&["pinata", "init", "--nobody", &party.path("site")]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        party.pack();
        party
    }

    /// A piñata of a test's own CA, and what that has revoked.
    #[must_use]
    pub fn under(ca: &Ca, crls: &[Vec<u8>], secret: &[u8]) -> Self {
        let party = Self(tempfile::tempdir().expect("a folder"));
        let put = |name: &str, bytes: &[u8]| {
            std::fs::create_dir_all(party.path("site")).expect("a folder");
            std::fs::write(party.path(&format!("site/{name}")), bytes).expect("it is ours");
        };
        let mut sheet = "[pinata]\nsecret = \"secret\"\nauthority = \"ca\"\nrevoked = [\"crl\"]\n".to_owned();
        put("secret", secret);
        put("ca", pem("CERTIFICATE", &ca.der).as_bytes());
        put("crl", crls.iter().map(|crl| pem("X509 CRL", crl).to_string()).collect::<String>().as_bytes());
        for (name, role) in [("server", Role::Server), ("caller", Role::Client), ("client", Role::Client)] {
            let own = good(ca, role);
            put(
                name,
                (pem("CERTIFICATE", &own.chain[0]).to_string() + &pem("PRIVATE KEY", &own.key)).as_bytes(),
            );
            sheet += &format!("{name} = {name:?}\n");
        }
        let sheet = if crls.is_empty() { sheet.replace("\"crl\"", "") } else { sheet };
        put("gatehouse.toml", sheet.as_bytes());
        party.pack();
        party
    }

    /// Packs what lies in its folder now.
    pub fn pack(&self) {
        let packed = house::run(&["pack", &self.path("site"), "-o", &self.path("bundle")]);
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    }

    /// A file of it: `bundle`, or something below `site`.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    /// What is in such a file.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("it is there")
    }

    /// The piñata's secret.
    #[must_use]
    pub fn secret(&self) -> String {
        self.read("site/secret.pem")
    }

    /// What may be in the memory of an appliance, and how often: each door's key once, as ring has it; the secret once
    /// as it is told and once as it signs; and nothing of what only the operator has.
    #[must_use]
    pub fn needles(&self) -> Vec<Needle> {
        let mut needles = Vec::new();
        for (name, wanted) in [("server", 1), ("caller", 1), ("client", 1)] {
            needles.extend(p256(name, key(&self.der(&format!("site/tls/{name}.pem"))), wanted));
        }
        for name in ["ca.key", "friend.pem", "friend-server.pem", "revoked.pem"] {
            needles.extend(p256(name, key(&self.der(&format!("site/keep/{name}"))), 0));
        }
        needles.extend(self.needles_of_secret());
        needles
    }

    /// The part of this that goes with the secret.
    #[must_use]
    pub fn needles_of_secret(&self) -> Vec<Needle> {
        let seed = self.der("site/secret.pem");
        let line = self.secret().lines().nth(1).expect("base64").to_owned();
        let mut needles = ed25519("bounty", &seed[seed.len() - 32..], 1);
        needles.push(Needle::new("the secret as it is told", &line.as_bytes()[24..], 1));
        needles
    }

    /// What must not be found once the server's door has signed this.
    #[must_use]
    pub fn drawn_for(&self, message: &[u8], signature: &[u8]) -> Vec<Needle> {
        let certificate =
            tls::papers::certificates(self.read("site/tls/server.pem").as_bytes()).expect("PEM");
        let public = public_keys(&certificate[0]).pop_first().expect("a key of P-256");
        let verifier = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public);
        verifier.verify(message, signature).expect("this key has signed this");
        let number = drawn(key(&self.der("site/tls/server.pem")), message, signature);
        let inverted = p256("drawn for a signature, inverted", inverse(number, ORDER), 0);
        [p256("drawn for a signature", number, 0), inverted].concat()
    }

    /// What must not be found once the bounty has signed an attestation.
    #[must_use]
    pub fn drawn_for_attestation(&self, said: &str) -> Vec<Needle> {
        let signed = said.split("signature ").next().expect("an attestation");
        let key = self.der("site/secret.pem");
        drawn_by_ed25519("drawn for an attestation", &key[key.len() - 32..], signed.as_bytes())
    }

    /// The key of a PEM file in DER.
    fn der(&self, name: &str) -> Vec<u8> {
        let mut openssl = Command::new("openssl");
        openssl.args(["pkcs8", "-topk8", "-nocrypt", "-outform", "DER", "-in", &self.path(name)]);
        let made = openssl.output().expect("openssl is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        made.stdout
    }

    /// What an honest appliance says of its own code.
    #[must_use]
    pub fn code() -> String {
        let appliance = crate::appliance().to_string_lossy().into_owned();
        let measured = tool().args(["measure", &appliance]).output().expect("it runs");
        String::from_utf8_lossy(&measured.stdout).trim().to_owned()
    }

    /// The bundle.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.path("bundle").into()
    }
}
