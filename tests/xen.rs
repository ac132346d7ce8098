//! The same file is a guest of a real Xen: a PVH domain under Xen and a dom0 of Debian, on emulated SVM.
//!
//! The processor has no RDRAND, so whatever the appliance knows that nobody can guess came over its channel. One host
//! is booted for everything here: that takes longer than all the rest.

use bench::machine::probes;
use bench::outer::Outer;
use bench::{appliance, house, xentropyd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Nothing here takes so long unless it is broken; emulation on a busy host is slow.
const LONG: Duration = Duration::from_secs(240);
/// The size of `/big.bin` in the bundle.
const BIG: usize = 3 << 20;
/// Domains that come and go one after the other.
const CYCLES: usize = 8;
const CONSOLE: &str = "/var/log/xen/guest-gatehouse.log";
const VIF: &str = "mac=00:16:3e:00:00:10,bridge=xenbr0,script=vif-bridge";

#[test]
fn a_domain_keeps_its_promises_is_fed_serves_and_ends() {
    let xen = Outer::xen();
    xen.put(probes(), "/tmp/appliance");
    it_dies_of_the_right_fault(&xen);
    let host = Host::furnish(xen);
    host.starves_without_a_channel();
    host.waits_for_a_daemon_and_serves();
    host.survives_a_pause();
    host.survives_another_network();
    host.survives_a_back_end_that_begins_anew();
    host.ends_when_it_is_asked_to();
    host.comes_and_goes();
}

fn it_dies_of_the_right_fault(xen: &Outer) {
    for twin in ["registers", "tables", "clock", "module"] {
        let _ = probe(xen, &format!("twin={twin}"), &format!("lived: {twin}"));
    }
    for (name, fault) in [("write-text", "(error 0x3, address "), ("overflow-stack", "(error 0x2, address ")]
    {
        let said = probe(xen, &format!("probe={name}"), fault);
        assert!(said.contains("fault: #PF at image+0x"), "{said}");
    }
}

/// Starts a domain with this command line, waits for its last word on Xen's console, and for its end.
fn probe(xen: &Outer, line: &str, word: &str) -> String {
    let words = config(line, "/tmp/module", "");
    let _ = xen.run(&format!(
        "cat >/tmp/domain <<'END'\n{words}\nEND\nprintf hello >/tmp/module\nxl create /tmp/domain"
    ));
    wait(|| xen.serial().contains(word), || xen.serial());
    wait(|| !xen.run("xl list").contains("gatehouse"), || "the domain has not left".to_owned());
    xen.serial()
}

fn config(line: &str, module: &str, devices: &str) -> String {
    format!(
        "name=\"gatehouse\"\ntype=\"pvh\"\nkernel=\"/tmp/appliance\"\nramdisk=\"{module}\"\ncmdline=\"{line}\"\n\
         memory=32\nvcpus=1\ntsc_mode=\"native\"\non_crash=\"destroy\"\non_reboot=\"destroy\"\n{devices}"
    )
}

/// A Xen host with the appliance, a site and a daemon that does not run yet.
struct Host {
    xen: Outer,
    folder: tempfile::TempDir,
}

impl Host {
    fn furnish(xen: Outer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bundle = bundle(folder.path());
        xen.put(&appliance(), "/tmp/appliance");
        xen.put(&xentropyd(), "/tmp/xentropyd");
        xen.put(&bundle, "/tmp/site.cargo");
        let _ = xen.run(
            "echo 1 >/proc/sys/net/ipv4/ip_forward
             iptables -t nat -A PREROUTING -i eth0 -p tcp --dport 443 -j DNAT --to 192.168.99.10",
        );
        Self { xen, folder }
    }

    /// Starts the domain, whose console begins empty. libxl of Xen 4.17 loses the first channel.
    fn create(&self, fed: bool) {
        let name = "org.openmirage.entropy.2";
        let socket = format!("connection=socket,path=/run/xen-channels/vm.{name},name={name}");
        let channel = format!("channel=[\"connection=pty,name=none\",\"{socket}\"]\n");
        let devices = format!("vif=[\"{VIF}\"]\n{}", if fed { &channel } else { "" });
        let line = "--address 192.168.99.10/24 --gateway 192.168.99.1";
        let words = config(line, "/tmp/site.cargo", &devices);
        let _ = self
            .xen
            .run(&format!(": >{CONSOLE}\ncat >/tmp/domain <<'END'\n{words}\nEND\nxl create /tmp/domain"));
    }

    fn destroy(&self) {
        let _ = self.xen.run("xl destroy gatehouse");
    }

    fn feed(&self) {
        let _ = self.xen.run(
            "setsid /tmp/xentropyd --watch /run/xen-channels --user root </dev/null >/tmp/daemon 2>&1 &",
        );
    }

    /// Waits until the console shows a line so many times.
    fn said(&self, word: &str, times: usize) {
        let console = || self.xen.run(&format!("cat {CONSOLE}"));
        wait(|| console().matches(word).count() >= times, || format!("{word:?}: {}", console()));
    }

    /// Fetches a page through this host, QEMU, dom0 and its bridge.
    fn page(&self, path: &str) -> Vec<u8> {
        let mut page = Vec::new();
        let fetch = || {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--fail", "-m", "60", "--cacert"])
                .arg(self.folder.path().join("site/tls/ca.pem"));
            curl.arg("--connect-to").arg(format!("localhost:443:127.0.0.1:{}", self.xen.https()));
            let got = curl.arg(format!("https://localhost{path}")).output().unwrap();
            got.status.success().then_some(got.stdout)
        };
        wait(|| fetch().map(|got| page = got).is_some(), || format!("{path}: {}", self.state()));
        page
    }

    fn state(&self) -> String {
        self.xen
            .run(&format!("xl list; cat {CONSOLE}; xenstore-ls /local/domain; ip link; tail -20 /tmp/daemon"))
    }

    fn starves_without_a_channel(&self) {
        self.create(false);
        self.said("the host offers no channel", 1);
        let knock = "! socat -u /dev/null TCP:192.168.99.10:443,connect-timeout=3";
        let _ = self.xen.run(knock);
        assert!(!self.xen.run(&format!("cat {CONSOLE}")).contains("ready"));
        self.destroy();
    }

    fn waits_for_a_daemon_and_serves(&self) {
        self.create(true);
        self.said("waiting for the host's first seed", 1);
        self.feed();
        self.said("entropy: seeded by the host", 1);
        self.said("ready: HTTPS on 443", 1);
        assert!(String::from_utf8(self.page("/")).unwrap().contains("<title>Gatehouse"));
        assert!(
            self.page("/big.bin") == std::fs::read(self.folder.path().join("site/site/big.bin")).unwrap()
        );
    }

    fn survives_a_pause(&self) {
        let _ = self.xen.run("xl pause gatehouse; sleep 3; xl unpause gatehouse");
        assert!(!self.page("/").is_empty());
    }

    fn survives_another_network(&self) {
        let _ = self.xen.run("xl network-detach gatehouse 0");
        self.said("the network", 2);
        let _ = self.xen.run(&format!("xl network-attach gatehouse {}", VIF.replace(',', " ")));
        self.said("the network is plugged in", 2);
        assert!(!self.page("/").is_empty());
    }

    fn survives_a_back_end_that_begins_anew(&self) {
        let _ = self.xen.run(
            "cd /sys/bus/xen-backend/drivers/vif
             back=$(basename vif-*)
             echo $back >unbind; sleep 1; echo $back >bind; sleep 1
             name=$(echo $back | sed 's/vif-/vif/; s/-/./')
             ip link set $name master xenbr0 up",
        );
        self.said("the network is plugged in", 3);
        assert!(self.page("/big.bin").len() == BIG);
    }

    fn ends_when_it_is_asked_to(&self) {
        let _ = self.xen.run("xl shutdown -w gatehouse");
        self.said("closed: ", 1);
        wait(|| !self.xen.run("xl list").contains("gatehouse"), || self.state());
    }

    fn comes_and_goes(&self) {
        let held = || self.xen.run("ls /proc/$(pidof xentropyd)/fd | wc -l; ls /run/xen-channels | wc -l");
        let before = held();
        for _ in 0..CYCLES {
            self.create(true);
            self.said("entropy: seeded by the host", 1);
            self.destroy();
        }
        wait(|| held() == before, || format!("the daemon held {before}, and now {}", held()));
        assert_eq!(self.xen.run("xenstore-list /local/domain").trim(), "0");
    }
}

fn bundle(folder: &Path) -> std::path::PathBuf {
    let (site, bundle) = (folder.join("site"), folder.join("site.cargo"));
    let made = house::run(&["init", &site.to_string_lossy()]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let noise = (0_u64..BIG as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    std::fs::write(site.join("site/big.bin"), noise.collect::<Vec<u8>>()).unwrap();
    let packed = house::run(&["pack", &site.to_string_lossy(), "-o", &bundle.to_string_lossy()]);
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    bundle
}

fn wait(mut done: impl FnMut() -> bool, why: impl Fn() -> String) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "{}", why());
        std::thread::sleep(Duration::from_millis(200));
    }
}
