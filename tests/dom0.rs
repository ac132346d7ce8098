//! A dom0 with everything that an appliance needs there, and one domain in it, called `gatehouse`.

use crate::outer::Outer;
use crate::party::Party;
use crate::{gatehouse, house, xentropyd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Nothing takes so long unless it is broken; emulation on a busy host is slow.
const LONG: Duration = Duration::from_secs(240);
/// The size of `/big.bin` in the bundle.
pub const BIG: usize = 3 << 20;
/// The domain's console, as xenconsoled keeps it.
const CONSOLE: &str = "/var/log/xen/guest-gatehouse.log";

/// A Xen host with the appliance, a site, a piñata, and a daemon that does not run yet.
pub struct Dom0 {
    /// The host.
    pub xen: Outer,
    folder: tempfile::TempDir,
    /// The piñata whose bundle lies there too.
    pub party: Party,
}

impl Dom0 {
    /// Puts everything there.
    #[must_use]
    pub fn furnish(xen: Outer) -> Self {
        let host = Self { xen, folder: tempfile::tempdir().unwrap(), party: Party::default() };
        let here = host.folder.path();
        write_what_xl_needs(&site(here), here);
        let _ = host.xen.run(&format!("mkdir -p {}", here.display()));
        for name in ["appliance", "gatehouse.cargo", "gatehouse.cfg"] {
            host.xen.put(&here.join(name), &host.at(name));
        }
        host.xen.put(&host.party.bundle(), "/tmp/party");
        host.xen.put(&xentropyd(), "/tmp/xentropyd");
        host.xen.put(&gatehouse(), "/tmp/gatehouse");
        let _ = host.xen.run(
            "mkdir -m 700 /run/gatehouse
             echo 1 >/proc/sys/net/ipv4/ip_forward
             iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 443 -j DNAT --to 192.168.99.10",
        );
        host
    }

    /// A file of the folder that the tool has written: it has the same name here and in dom0.
    #[must_use]
    pub fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Starts the domain, whose console begins empty, after a change to its configuration.
    pub fn create(&self, change: &str) {
        let config = self.at("gatehouse.cfg");
        let _ = self.xen.run(&format!(
            ": >{CONSOLE}
             sed '{change}' {config} >/tmp/domain && xl create /tmp/domain"
        ));
    }

    /// Destroys the domain.
    pub fn destroy(&self) {
        let _ = self.xen.run("xl destroy gatehouse");
    }

    /// Starts a daemon. dom0 has just booted and sees no hardware's noise.
    pub fn feed(&self) {
        let _ = self.xen.run(
            "setsid /tmp/xentropyd --watch /run/xen-channels --user root --metrics 127.0.0.1:9 \
             </dev/null >/tmp/daemon 2>&1 &",
        );
    }

    /// What the domain has said.
    #[must_use]
    pub fn console(&self) -> String {
        self.xen.run(&format!("cat {CONSOLE}"))
    }

    /// Waits until the console shows a line so many times.
    pub fn said(&self, word: &str, times: usize) {
        wait(|| self.console().matches(word).count() >= times, || format!("no {word:?}: {}", self.state()));
    }

    /// Fetches a page through this host, QEMU, dom0 and its bridge.
    #[must_use]
    pub fn page(&self, path: &str) -> Vec<u8> {
        self.fetch("localhost", path, &["--cacert", &self.at("site/tls/ca.pem")])
    }

    /// Fetches a page of a site that is called `host`, in the words of curl.
    #[must_use]
    pub fn fetch(&self, host: &str, path: &str, words: &[&str]) -> Vec<u8> {
        let mut page = Vec::new();
        let there = format!("{host}:443:127.0.0.1:{}", self.xen.https());
        let mut fetch = || {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--fail", "-m", "60", "--connect-to", &there]).args(words);
            let got = curl.arg(format!("https://{host}{path}")).output().unwrap();
            page = got.stdout;
            got.status.success()
        };
        wait(&mut fetch, || format!("{path}: {}", self.state()));
        page
    }

    /// How all stands, for whoever looks for a fault.
    #[must_use]
    pub fn state(&self) -> String {
        self.xen.run(&format!(
            "xl list; cat {CONSOLE}; xenstore-ls /local/domain; ip link; tail -20 /tmp/daemon; :"
        ))
    }

    /// The domain's number.
    #[must_use]
    pub fn number(&self) -> String {
        self.xen.run("xl domid gatehouse").trim().to_owned()
    }

    /// Leads dom0's port to another of the domain's.
    pub fn lead_to(&self, port: &str) {
        let _ = self.xen.run(&format!(
            "iptables -t nat -R PREROUTING 1 -i eth0 -p tcp --dport 443 -j DNAT --to 192.168.99.10{port}"
        ));
    }
}

/// The example's folder, with a file that is longer than any buffer on its way.
fn site(folder: &Path) -> String {
    let site = folder.join("site");
    let made = house::run(&["init", &site.to_string_lossy()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let noise = (0_u64..BIG as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    std::fs::write(site.join("site/big.bin"), noise.collect::<Vec<u8>>()).unwrap();
    site.display().to_string()
}

fn write_what_xl_needs(site: &str, folder: &Path) {
    let place = ["--address", "192.168.99.10/24", "--gateway", "192.168.99.1"];
    let words = ["xl", site, "--name", "gatehouse", "--into", &folder.to_string_lossy()];
    let written = house::run(&[&words[..], &place[..]].concat());
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
}

/// Waits until something is done.
///
/// # Panics
/// When it takes too long; `why` is shown.
pub fn wait(mut done: impl FnMut() -> bool, why: impl Fn() -> String) {
    let end = Instant::now() + LONG;
    loop {
        let begun = Instant::now();
        if done() {
            return;
        }
        assert!(Instant::now() < end, "{}", why());
        // To look costs the machine time that it needs to get there: a quarter of it, and no more.
        std::thread::sleep((3 * begun.elapsed()).max(Duration::from_millis(200)));
    }
}
