//! The same file is a guest of a real Xen: a PVH domain under Xen and a dom0 of Debian, on emulated SVM.
//!
//! The processor has no RDRAND, so whatever the appliance knows that nobody can guess came over its channel. One host
//! is booted for everything here: that takes longer than most of the rest. The configuration is what `gatehouse xl`
//! writes.

use bench::machine::probes;
use bench::outer::Outer;
use bench::party::Party;
use bench::{house, xentropyd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Nothing here takes so long unless it is broken; emulation on a busy host is slow.
const LONG: Duration = Duration::from_secs(240);
/// The size of `/big.bin` in the bundle.
const BIG: usize = 3 << 20;
/// Domains that come and go one after the other.
const CYCLES: usize = 5;
const CONSOLE: &str = "/var/log/xen/guest-gatehouse.log";
/// What a client in dom0 says; it succeeds when somebody listens.
const KNOCK: &str = "socat -u /dev/null TCP:192.168.99.10:443,connect-timeout=3";

#[test]
fn a_domain_keeps_its_promises_is_fed_serves_and_ends() {
    let xen = Outer::xen();
    it_dies_of_the_right_fault(&xen);
    let host = Host::furnish(xen);
    host.starves_without_a_channel();
    host.waits_for_a_daemon_and_serves();
    host.outlives_its_daemon();
    host.survives_a_pause();
    host.survives_another_network();
    host.is_fed_by_the_next_daemon();
    host.ends_when_it_is_asked_to();
    host.comes_and_goes();
    host.hangs_a_pinata();
}

fn it_dies_of_the_right_fault(xen: &Outer) {
    xen.put(probes(), "/tmp/probes");
    for twin in ["registers", "tables", "clock", "module"] {
        let _ = probe(xen, &format!("twin={twin}"), &format!("lived: {twin}"));
    }
    for (name, fault) in [("write-text", "(error 0x3, address "), ("overflow-stack", "(error 0x2, address ")]
    {
        let said = probe(xen, &format!("probe={name}"), fault);
        assert!(said.contains("fault: #PF at image+0x"), "{said}");
    }
    let _ = xen.run("rm /tmp/probes");
}

/// Starts a domain with this command line, waits for its last word on Xen's console, and for its end.
fn probe(xen: &Outer, line: &str, word: &str) -> String {
    let words = format!(
        "name=\"gatehouse\"\ntype=\"pvh\"\nkernel=\"/tmp/probes\"\nramdisk=\"/tmp/module\"\ncmdline=\"{line}\"\n\
         memory=32\nvcpus=1\ntsc_mode=\"native\"\non_crash=\"destroy\"\non_reboot=\"destroy\""
    );
    let _ = xen.run(&format!(
        "cat >/tmp/domain <<'END'\n{words}\nEND\nprintf hello >/tmp/module\nxl create /tmp/domain"
    ));
    wait(|| xen.serial().contains(word), || format!("no {word:?}: {}", xen.serial()));
    wait(|| !xen.run("xl list").contains("gatehouse"), || "the domain has not left".to_owned());
    xen.serial()
}

/// A Xen host with the appliance, a site, a piñata, and a daemon that does not run yet.
struct Host {
    xen: Outer,
    folder: tempfile::TempDir,
    party: Party,
}

impl Host {
    fn furnish(xen: Outer) -> Self {
        let host = Self { xen, folder: tempfile::tempdir().unwrap(), party: Party::default() };
        let here = host.folder.path();
        write_what_xl_needs(&site(here), here);
        let _ = host.xen.run(&format!("mkdir -p {}", here.display()));
        for name in ["appliance", "gatehouse.cargo", "gatehouse.cfg"] {
            host.xen.put(&here.join(name), &host.at(name));
        }
        host.xen.put(&host.party.bundle(), "/tmp/party");
        host.xen.put(&xentropyd(), "/tmp/xentropyd");
        let _ = host.xen.run(
            "echo 1 >/proc/sys/net/ipv4/ip_forward
             iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 443 -j DNAT --to 192.168.99.10",
        );
        host
    }

    /// A file of the folder that the tool has written: it has the same name here and in dom0.
    fn at(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Starts the domain, whose console begins empty, after a change to its configuration.
    fn create(&self, change: &str) {
        let config = self.at("gatehouse.cfg");
        let _ = self.xen.run(&format!(
            ": >{CONSOLE}
             sed '{change}' {config} >/tmp/domain && xl create /tmp/domain"
        ));
    }

    fn destroy(&self) {
        let _ = self.xen.run("xl destroy gatehouse");
    }

    /// Starts a daemon. dom0 has just booted and sees no hardware's noise: its kernel makes its own when somebody waits.
    fn feed(&self) {
        let _ = self.xen.run(
            "head -c 1 /dev/random >/dev/null
             setsid /tmp/xentropyd --watch /run/xen-channels --user root --metrics 127.0.0.1:9 \
             </dev/null >/tmp/daemon 2>&1 &",
        );
    }

    fn console(&self) -> String {
        self.xen.run(&format!("cat {CONSOLE}"))
    }

    /// Waits until the console shows a line so many times.
    fn said(&self, word: &str, times: usize) {
        wait(|| self.console().matches(word).count() >= times, || format!("no {word:?}: {}", self.state()));
    }

    /// Fetches a page through this host, QEMU, dom0 and its bridge.
    fn page(&self, path: &str) -> Vec<u8> {
        self.fetch("localhost", path, &["--cacert", &self.at("site/tls/ca.pem")])
    }

    fn fetch(&self, host: &str, path: &str, words: &[&str]) -> Vec<u8> {
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

    fn state(&self) -> String {
        self.xen.run(&format!(
            "xl list; cat {CONSOLE}; xenstore-ls /local/domain; ip link; tail -20 /tmp/daemon; :"
        ))
    }

    /// No port is open, and the reason is on the console.
    fn is_shut(&self, why: &str) {
        self.said(why, 1);
        let _ = self.xen.run(&format!("! {KNOCK}"));
        assert!(!self.console().contains("ready"), "{}", self.console());
    }

    fn starves_without_a_channel(&self) {
        self.create("/^channel/,/]$/d");
        self.is_shut("the host offers no channel");
        self.destroy();
    }

    fn waits_for_a_daemon_and_serves(&self) {
        self.create("");
        self.is_shut("waiting for the host's first seed");
        self.feed();
        self.said("entropy: seeded by the host", 1);
        self.said("ready: HTTPS on 443", 1);
        let _ = self.xen.run(KNOCK);
        assert!(String::from_utf8(self.page("/")).unwrap().contains("<title>Gatehouse"));
        assert!(self.page("/big.bin") == std::fs::read(self.at("site/site/big.bin")).unwrap());
    }

    fn outlives_its_daemon(&self) {
        let _ = self
            .xen
            .run("old=$(pidof xentropyd); kill $old; while kill -0 $old 2>/dev/null; do usleep 100000; done");
        assert!(!self.page("/").is_empty());
        self.feed();
    }

    /// Nobody tells the domain that there is another: it asks again a minute after it was fed.
    fn is_fed_by_the_next_daemon(&self) {
        let fed = || self.xen.run("wget -qO- http://127.0.0.1:9/metrics | grep '^xentropyd_bytes_total'");
        wait(|| !fed().trim().ends_with(" 0"), || format!("{} {}", fed(), self.state()));
    }

    fn survives_a_pause(&self) {
        let _ = self.xen.run("xl pause gatehouse; sleep 3; xl unpause gatehouse");
        assert!(!self.page("/").is_empty());
    }

    fn survives_another_network(&self) {
        let _ = self.xen.run("xl network-detach gatehouse 0");
        self.said("the network", 2);
        let _ = self.xen.run("xl network-attach gatehouse bridge=xenbr0");
        self.said("the network is plugged in", 2);
        assert!(!self.page("/").is_empty());
    }

    fn ends_when_it_is_asked_to(&self) {
        let _ = self.xen.run("xl shutdown gatehouse");
        self.said("closed: ", 1);
        wait(|| !self.xen.run("xl list").contains("gatehouse"), || self.state());
    }

    fn comes_and_goes(&self) {
        let held = || {
            let count = self.xen.run("ls /proc/$(pidof xentropyd)/fd | wc -l");
            count.trim().parse::<usize>().unwrap()
        };
        let before = held();
        for _ in 0..CYCLES {
            self.create("");
            self.said("entropy: seeded by the host", 1);
            self.destroy();
        }
        wait(|| held() <= before, || format!("the daemon held {before} descriptors, and now {}", held()));
        assert_eq!(self.xen.run("xenstore-list /local/domain").trim(), "0");
    }

    fn hangs_a_pinata(&self) {
        self.create("s/^ramdisk.*/ramdisk = \"\\/tmp\\/party\"/; s/^cmdline = \"/&--pinata direct /");
        let page = String::from_utf8(self.fetch("192.168.99.10", "/", &["--insecure"])).unwrap();
        assert!(page.contains("It hangs whole.") && page.contains(&Party::code()), "{page}");
        self.destroy();
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

fn wait(mut done: impl FnMut() -> bool, why: impl Fn() -> String) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "{}", why());
        std::thread::sleep(Duration::from_millis(200));
    }
}
