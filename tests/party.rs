//! A piñata as `gatehouse pinata init` makes it, packed, and everything that must not be found of it.

use crate::memory::{Needle, ed25519, p256};
use crate::{gatehouse, house};
use std::path::PathBuf;
use std::process::Command;

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
        let sheet = party.path("site/gatehouse.toml");
        let text = std::fs::read_to_string(&sheet).expect("a sheet");
        let line = text.lines().find(|line| line.starts_with("bounty = ")).expect("it speaks of a bounty");
        std::fs::write(&sheet, text.replace(line, &format!("bounty = {bounty:?}"))).expect("it is ours");
        let packed = house::run(&["pack", &folder, "-o", &party.path("bundle")]);
        assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        party
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
            needles.extend(p256(name, &self.der(&format!("site/tls/{name}.pem")), wanted));
        }
        for name in ["ca.key", "friend.pem", "friend-server.pem"] {
            needles.extend(p256(name, &self.der(&format!("site/keep/{name}")), 0));
        }
        let seed = self.der("site/secret.pem");
        needles.extend(ed25519("bounty", &seed[seed.len() - 32..], 1));
        let line = self.secret().lines().nth(1).expect("base64").to_owned();
        needles.push(Needle::new("the secret as it is told", &line.as_bytes()[24..], 1));
        needles
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
        let measured = Command::new(gatehouse()).args(["measure", &appliance]).output().expect("it runs");
        String::from_utf8_lossy(&measured.stdout).trim().to_owned()
    }

    /// The bundle.
    #[must_use]
    pub fn bundle(&self) -> PathBuf {
        self.path("bundle").into()
    }
}
