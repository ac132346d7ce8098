//! The same file is a guest of a real Xen: a PVH domain under Xen and a dom0 of Debian, on emulated SVM.

use bench::machine::probes;
use bench::outer::Outer;
use std::time::{Duration, Instant};

/// Starts a domain with this command line, waits for its last word on Xen's console, and for its end.
fn domain(xen: &Outer, line: &str, word: &str) -> String {
    let words = format!(
        "name=\"gatehouse\"\ntype=\"pvh\"\nkernel=\"/tmp/appliance\"\nramdisk=\"/tmp/module\"\ncmdline=\"{line}\"\n\
         memory=32\nvcpus=1\ntsc_mode=\"native\"\non_crash=\"destroy\"\non_reboot=\"destroy\""
    );
    let _ = xen.run(&format!(
        "cat >/tmp/domain <<'END'\n{words}\nEND\nprintf hello >/tmp/module\nxl create /tmp/domain"
    ));
    let end = Instant::now() + Duration::from_secs(60);
    while !xen.serial().contains(word) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(xen.serial().contains(word), "{}", xen.serial());
    while xen.run("xl list").contains("gatehouse") {
        assert!(Instant::now() < end, "the domain has not left");
    }
    xen.serial()
}

#[test]
fn a_domain_boots_keeps_its_promises_and_dies_of_the_right_fault() {
    let xen = Outer::xen();
    xen.put(probes(), "/tmp/appliance");
    for twin in ["registers", "tables", "clock", "module"] {
        let _ = domain(&xen, &format!("twin={twin}"), &format!("lived: {twin}"));
    }
    for (probe, fault) in [("write-text", "(error 0x3, address "), ("overflow-stack", "(error 0x2, address ")]
    {
        let said = domain(&xen, &format!("probe={probe}"), fault);
        assert!(said.contains("fault: #PF at image+0x"), "{said}");
    }
}
