//! The same file is a guest of a real Xen: a PVH domain under Xen and a dom0 of Debian, on emulated SVM.
//!
//! The first processor has no RDRAND, so whatever the appliance knows that nobody can guess came over its channel. Two
//! hosts live side by side, since to boot one takes longer than most of the rest, and one of them alone would take the
//! sum. The configuration is what `gatehouse xl` writes. A Linux guest is served first: what goes wrong before it answers
//! is the host's fault. How long each step took is printed.

use bench::dom0::{BIG, Dom0, wait};
use bench::machine::probes;
use bench::outer::Outer;
use bench::party::Party;
use entropy::health::START_UP;
use std::any::type_name;
use std::process::Command;
use std::time::{Duration, Instant};

/// Domains that come and go one after the other; `tests/bench/xen cycles` does it a hundred times.
const CYCLES: usize = 2;
/// No RDRAND.
const PLAIN: &str = "qemu64,+svm,+npt";
/// Frames of 60 bytes that dom0's kernel throws at a domain as fast as it can.
const STORM: usize = 20_000;
/// What a client in dom0 says; it succeeds when somebody listens.
const KNOCK: &str = "socat -u /dev/null TCP:192.168.99.10:443,connect-timeout=3";

#[test]
fn a_domain_keeps_its_promises_is_fed_serves_and_ends() {
    let begun = Instant::now();
    let xen = take(PLAIN, Outer::xen);
    take(&xen, a_linux_guest_is_served);
    let host = take(xen, Dom0::furnish);
    take(&host, starves_without_a_channel);
    take(&host, waits_for_a_daemon_and_serves);
    take(&host, counts_what_the_daemon_sent);
    take(&host, goes_on_in_a_storm);
    take(&host, outlives_its_daemon);
    take(&host, refuses_to_be_saved);
    take(&host, is_asked_to_suspend_all_the_same);
    take(&host, survives_a_pause);
    take(&host, survives_another_network);
    take(&host, survives_another_driver);
    take(&host.xen, it_hears_exactly_what_is_said);
    take(&host, is_not_waited_for_any_more);
    take(&host, is_fed_by_the_next_daemon);
    take(&host, begins_again_when_it_is_asked_to);
    take(&host, outlives_the_qemu_of_its_channels);
    take(&host, ends_when_it_is_asked_to);
    println!("{:6.1} s in all", begun.elapsed().as_secs_f32());
}

#[test]
fn on_a_processor_of_today_it_serves_hangs_and_is_run() {
    let begun = Instant::now();
    let xen = Outer::xen_of_today();
    take(&xen, it_dies_of_the_right_fault);
    let host = take(xen, Dom0::furnish);
    take(&host, serves_at_once);
    take(&host, comes_and_goes);
    take(&host, hangs_a_pinata);
    take(&host, is_run_by_the_launcher);
    println!("{:6.1} s in all", begun.elapsed().as_secs_f32());
}

/// Takes a step, and says how long it took.
fn take<T, U, F: FnOnce(T) -> U>(from: T, step: F) -> U {
    let begun = Instant::now();
    let to = step(from);
    println!("{:6.1} s {}", begun.elapsed().as_secs_f32(), type_name::<F>());
    to
}

/// The control: the same host, bridge and kind of domain, without anything of ours.
fn a_linux_guest_is_served(xen: &Outer) {
    xen.put_cached("dom0.vmlinuz", "/tmp/linux");
    xen.put_cached("domu.cpio.gz", "/tmp/ram");
    let words = "name=\"linux\"\ntype=\"pvh\"\nkernel=\"/tmp/linux\"\nramdisk=\"/tmp/ram\"\nmemory=160\n\
         cmdline=\"console=hvc0 quiet mitigations=off cryptomgr.notests=1 address=192.168.99.11/24\"\n\
         tsc_mode=\"native\"\nvif=[\"bridge=xenbr0\"]";
    let _ = xen.run(&format!("cat >/tmp/control <<'END'\n{words}\nEND\nxl create /tmp/control"));
    let ask = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | socat -T 9 - TCP:192.168.99.11:80,connect-timeout=3";
    let asked = || xen.try_run(ask, Duration::from_secs(60)).unwrap_or_default();
    let log = "cat /var/log/xen/guest-linux.log; xl list; ip link";
    wait(
        || asked().contains("the control guest"),
        || format!("this Xen host serves no Linux guest either: {}", xen.run(log)),
    );
    let _ = xen.run("xl destroy linux; rm /tmp/linux /tmp/ram");
}

/// The bytes of a channel, there and back, through rings that hold a hundredth of them.
fn it_hears_exactly_what_is_said(xen: &Outer) {
    xen.put(&probes().with_file_name("guest"), "/tmp/echo");
    let words = "name=\"echo\"\ntype=\"pvh\"\nkernel=\"/tmp/echo\"\nmemory=32\nvif=[\"bridge=xenbr0\"]\n\
         channel=[\"connection=pty,name=none\",\
         \"connection=socket,path=/run/echo,name=org.openmirage.entropy.2\"]";
    let _ = xen.run(&format!("cat >/tmp/domain <<'END'\n{words}\nEND\nxl create /tmp/domain"));
    let _ = xen.run(
        "seq 20000 >/tmp/said
         setsid socat OPEN:/tmp/said,ignoreeof!!CREATE:/tmp/heard UNIX-CONNECT:/run/echo </dev/null >/dev/null 2>&1 &",
    );
    let heard =
        || xen.run("cmp /tmp/said /tmp/heard >/dev/null && echo the same; ls -l /tmp/said /tmp/heard; :");
    wait(
        || heard().contains("the same"),
        || format!("{} {}", heard(), xen.run("cat /var/log/xen/guest-echo.log")),
    );
    let _ = xen.run("xl destroy echo; rm /tmp/echo /tmp/said /tmp/heard");
}

fn it_dies_of_the_right_fault(xen: &Outer) {
    const LAST_WORDS: [(&str, &str); 6] = [
        ("twin=registers", "lived: registers"),
        ("twin=tables", "lived: tables"),
        ("twin=clock", "lived: clock"),
        ("twin=module", "lived: module"),
        ("probe=write-text", "(error 0x3, address "),
        ("probe=overflow-stack", "(error 0x2, address "),
    ];
    xen.put(probes(), "/tmp/probes");
    let _ = xen.run("printf hello >/tmp/module");
    for (line, _) in LAST_WORDS {
        let words = format!(
            "name=\"{line}\"\ntype=\"pvh\"\nkernel=\"/tmp/probes\"\nramdisk=\"/tmp/module\"\ncmdline=\"{line}\"\n\
             memory=32\nvcpus=1\ntsc_mode=\"native\"\non_crash=\"destroy\"\non_reboot=\"destroy\""
        );
        let _ = xen.run(&format!("cat >/tmp/domain <<'END'\n{words}\nEND\nxl create /tmp/domain"));
    }
    for (_, word) in LAST_WORDS {
        wait(|| xen.serial().contains(word), || format!("no {word:?}: {}", xen.serial()));
    }
    wait(|| !xen.run("xl list").contains('='), || format!("not all have left: {}", xen.run("xl list")));
    let faults = xen.serial().matches("fault: #PF at image+0x").count();
    assert_eq!(faults, 2, "{}", xen.serial());
    let _ = xen.run("rm /tmp/probes");
}

/// No port is open, and the reason is on the console.
fn is_shut(host: &Dom0, why: &str) {
    host.said(why, 1);
    let _ = host.xen.run(&format!("! {KNOCK}"));
    assert!(!host.console().contains("ready"), "{}", host.console());
}

fn starves_without_a_channel(host: &Dom0) {
    host.create("/^channel/,/]$/d");
    is_shut(host, "the host offers no channel");
    host.destroy();
}

/// Its address stands in xenstore, and not on its command line.
fn serves_at_once(host: &Dom0) {
    host.feed();
    host.create("s/--address [^ ]*//; s/bridge=xenbr0/&,ip=192.168.99.10\\/24/");
    assert!(host.page("/big.bin") == std::fs::read(host.at("site/site/big.bin")).unwrap());
    host.destroy();
}

fn waits_for_a_daemon_and_serves(host: &Dom0) {
    host.create("");
    is_shut(host, "waiting for the host's first seed");
    host.feed();
    host.said("entropy: seeded by the host", 1);
    host.said("ready: HTTPS on 443", 1);
    let _ = host.xen.run(KNOCK);
    assert!(String::from_utf8(host.page("/")).unwrap().contains("<title>Gatehouse"));
    assert!(host.page("/big.bin") == std::fs::read(host.at("site/site/big.bin")).unwrap());
}

/// The health test's bytes count for nothing; of the others half the bits count.
fn counts_what_the_daemon_sent(host: &Dom0) {
    let number = |of: &str| {
        let said = host.xen.run(of);
        let last = said.trim().rsplit(' ').next().and_then(|number| number.parse::<u32>().ok());
        last.unwrap_or_else(|| panic!("no number: {said:?}"))
    };
    let sent = || number("wget -qO- http://127.0.0.1:9/metrics | grep '^xentropyd_bytes_total'");
    let counted = || number("/tmp/gatehouse metrics gatehouse | grep '^gatehouse_entropy_credited_bytes'");
    let same = || sent() == START_UP + 2 * counted();
    wait(same, || format!("{} sent, {} counted: {}", sent(), counted(), host.state()));
}

/// Small frames without end come in while large ones fill the ring that goes out.
fn goes_on_in_a_storm(host: &Dom0) {
    let vif = format!("/proc/net/pktgen/vif{}.0", host.number());
    let _ = host.xen.run(&format!(
        "modprobe pktgen
         mac=$(xenstore-read /local/domain/{0}/device/vif/0/mac)
         echo add_device vif{0}.0 >/proc/net/pktgen/kpktgend_0
         for word in 'count {STORM}' 'pkt_size 60' 'delay 0' 'dst 192.168.99.10' \"dst_mac $mac\"; do
             echo $word >{vif}
         done
         setsid sh -c 'echo start >/proc/net/pktgen/pgctrl' </dev/null >/dev/null 2>&1 &",
        host.number()
    ));
    for _ in 0..2 {
        assert!(host.page("/big.bin").len() == BIG);
    }
    wait(|| host.xen.run(&format!("grep -c 'Result: OK' {vif}; :")).trim() == "1", || host.state());
    assert!(!host.page("/").is_empty());
    let _ = host.xen.run("rmmod pktgen");
}

fn outlives_its_daemon(host: &Dom0) {
    let _ = host
        .xen
        .run("old=$(pidof xentropyd); kill $old; while kill -0 $old 2>/dev/null; do usleep 100000; done");
    assert!(!host.page("/").is_empty());
    host.feed();
}

/// Nobody tells the domain that there is another: it asks again a minute after it was fed.
fn is_fed_by_the_next_daemon(host: &Dom0) {
    let fed = || host.xen.run("wget -qO- http://127.0.0.1:9/metrics | grep '^xentropyd_bytes_total'");
    wait(|| !fed().trim().ends_with(" 0"), || format!("{} {}", fed(), host.state()));
}

fn survives_a_pause(host: &Dom0) {
    let _ = host.xen.run("xl pause gatehouse; sleep 1; xl unpause gatehouse");
    assert!(!host.page("/").is_empty());
}

/// xl looks for a port to ask through. There is none, so it says so at once and has begun nothing.
fn refuses_to_be_saved(host: &Dom0) {
    let said = host.xen.run("timeout 50 xl save gatehouse /tmp/saved; [ $? = 1 ]");
    assert!(said.contains("failed to bind suspend event channel"), "{said}");
    assert!(!host.page("/").is_empty());
}

/// A host that looks for no port asks in xenstore. xl waits a minute then, in which much of what follows happens.
fn is_asked_to_suspend_all_the_same(host: &Dom0) {
    let _ = host.xen.run(&format!(
        "xenstore-rm /local/domain/{}/device/suspend/event-channel
         setsid sh -c 'xl save gatehouse /tmp/saved; echo ended: $?' </dev/null >/tmp/save 2>&1 &",
        host.number()
    ));
    host.said("the host asked to suspend, which cannot be done: shut the domain down and create it again", 1);
    assert!(!host.page("/").is_empty());
}

fn is_not_waited_for_any_more(host: &Dom0) {
    let said = || host.xen.run("cat /tmp/save");
    wait(|| said().contains("ended: 1"), || format!("{} {}", said(), host.state()));
    assert!(said().contains("guest didn't acknowledge suspend, cancelling request"), "{}", said());
    assert!(!host.page("/").is_empty());
}

fn survives_another_network(host: &Dom0) {
    let _ = host.xen.run("xl network-detach gatehouse 0");
    host.said("the network", 2);
    let _ = host.xen.run("xl network-attach gatehouse bridge=xenbr0");
    host.said("the network is plugged in", 2);
    assert!(!host.page("/").is_empty());
}

/// dom0's network driver lets go of the running domain and takes it up again; what udev and xl's scripts do on a
/// larger dom0 is done here by hand.
fn survives_another_driver(host: &Dom0) {
    for times in 1..=2 {
        let _ = host.xen.run(
            "cd /sys/bus/xen-backend/drivers/vif
             back=$(basename vif-*)
             echo $back >unbind; echo $back >bind
             path=/local/domain/0/backend/$(echo $back | tr - /)
             xenstore-write $path/hotplug-status connected
             name=$(echo $back | sed 's/vif-/vif/; s/-/./')
             until [ -e /sys/class/net/$name ]; do usleep 100000; done
             ip link set $name master xenbr0 up",
        );
        host.said("the network is plugged in", 2 + times);
        assert!(!host.page("/").is_empty());
    }
}

fn begins_again_when_it_is_asked_to(host: &Dom0) {
    let before = host.number();
    let _ = host.xen.run("xl reboot gatehouse");
    host.said("ready: HTTPS on 443", 2);
    assert!(!host.page("/").is_empty() && host.number() != before);
}

fn outlives_the_qemu_of_its_channels(host: &Dom0) {
    let model = format!("/local/domain/{}/image/device-model-pid", host.number());
    let _ = host.xen.run(&format!("kill -9 $(xenstore-read {model})"));
    assert!(!host.page("/").is_empty());
}

fn ends_when_it_is_asked_to(host: &Dom0) {
    let _ = host.xen.run("xl shutdown gatehouse");
    host.said("closed: ", 2);
    wait(|| !host.xen.run("xl list").contains("gatehouse"), || host.state());
}

fn comes_and_goes(host: &Dom0) {
    let held = || {
        let count = host.xen.run("ls /proc/$(pidof xentropyd)/fd | wc -l");
        count.trim().parse::<usize>().unwrap()
    };
    let before = held();
    for _ in 0..CYCLES {
        host.create("");
        host.said("entropy: seeded by the host", 1);
        host.destroy();
    }
    wait(|| held() <= before, || format!("the daemon held {before} descriptors, and now {}", held()));
    assert_eq!(host.xen.run("xenstore-list /local/domain").trim(), "0");
}

fn hangs_a_pinata(host: &Dom0) {
    host.create("s/^ramdisk.*/ramdisk = \"\\/tmp\\/party\"/; s/^cmdline = \"/&--pinata direct /");
    let page = String::from_utf8(host.fetch("192.168.99.10", "/", &["--insecure"])).unwrap();
    assert!(page.contains("It hangs whole.") && page.contains(&Party::code()), "{page}");
    host.lead_to(":10000");
    let friend = host.party.path("site/keep/friend.pem");
    let told = whisper(host, &["-cert", &friend, "-key", &friend]);
    assert!(told.contains(host.party.secret().trim()), "to a friend: {told}");
    let told = whisper(host, &[]);
    assert!(!told.contains("PRIVATE KEY") && told.contains("alert"), "to a stranger: {told}");
    host.lead_to("");
    host.destroy();
}

/// What the piñata says at its first door.
fn whisper(host: &Dom0, own: &[&str]) -> String {
    let mut openssl = Command::new("timeout");
    let there = format!("127.0.0.1:{}", host.xen.https());
    openssl.args(["60", "openssl", "s_client", "-quiet", "-noservername", "-connect", &there]).args(own);
    let said = openssl.stdin(std::process::Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned()
}

/// `gatehouse run` in dom0, with a daemon of its own: asked to end, and killed.
fn is_run_by_the_launcher(host: &Dom0) {
    let launch = || {
        let _ = host.xen.run(&format!(
            "setsid sh -c 'echo $$ >/tmp/launcher; exec /tmp/gatehouse run {} --world xen --name gatehouse \
             --address 192.168.99.10/24 --gateway 192.168.99.1 --appliance {}' </dev/null >/tmp/console 2>&1 &",
            host.at("gatehouse.cargo"),
            host.at("appliance")
        ));
    };
    let console = || host.xen.run("cat /tmp/console; :");
    let said = |word: &str| {
        wait(|| console().contains(word), || format!("no {word:?}: {} {}", console(), host.state()))
    };
    let gone = || wait(|| !host.xen.run("xl list").contains("gatehouse"), || host.state());
    launch();
    said("https://192.168.99.10/");
    assert!(!host.page("/").is_empty());
    assert!(host.xen.run("/tmp/gatehouse status gatehouse").contains("serving"));
    let _ = host.xen.run("kill -INT $(cat /tmp/launcher)");
    said("closed: ");
    gone();
    launch();
    wait(|| host.xen.run("xl list").contains("gatehouse"), || format!("{} {}", console(), host.state()));
    let _ = host.xen.run("kill -9 $(cat /tmp/launcher)");
    gone();
}
