//! The appliance under a real KVM: Debian's kvm_amd on emulated SVM, with QEMU's `-accel kvm` inside.

use bench::deaths::{FAULTS, fault};
use bench::machine::{Board, Machine, probes};
use bench::outer::Outer;
use bench::{appliance, top, xentropyd};

/// The network and the entropy channel of a board, and where the outer machine reaches the appliance.
fn furnished(board: Board) -> Machine {
    let bus = if board == Board::Microvm { "device" } else { "pci" };
    let words = [
        "-global",
        "virtio-mmio.force-legacy=false",
        "-netdev",
        "user,id=n,hostfwd=tcp:127.0.0.1:443-:443",
        "-device",
        &format!("virtio-net-{bus},netdev=n{}", if board == Board::Microvm { "" } else { ",romfile=" }),
        "-chardev",
        "socket,path=/tmp/guests/appliance.entropy,server=on,wait=off,id=e",
        "-device",
        &format!("virtio-serial-{bus}"),
        "-device",
        "virtserialport,chardev=e,name=org.openmirage.entropy.2",
    ];
    Machine::on(board).line("--address 10.0.2.15/24 --gateway 10.0.2.2").with(&words)
}

#[test]
fn it_boots_is_fed_and_serves_a_page_under_kvm() {
    let kvm = Outer::kvm();
    kvm.put(&appliance(), "/tmp/appliance");
    kvm.put(&xentropyd(), "/tmp/xentropyd");
    let _ = kvm
        .run("mkdir -m 700 /tmp/guests; /tmp/xentropyd --watch /tmp/guests --user root >/tmp/daemon 2>&1 &");
    for board in [Board::Microvm, Board::Q35] {
        let start = furnished(board).under_kvm("/tmp/appliance");
        let said = kvm.run(&format!(
            "{start} </dev/null >/tmp/console 2>&1 & machine=$!
             for _ in $(seq 600); do grep -q ^ready /tmp/console && break; usleep 100000; done
             cat /tmp/console
             curl -sk -m 30 -w ' status %{{http_code}} version %{{http_version}}' https://127.0.0.1/ || cat /tmp/daemon
             kill $machine; wait $machine; true"
        ));
        assert!(
            said.contains("ready: HTTPS") && said.contains("</h1>") && said.contains("status 200 version"),
            "{board:?}: {said}"
        );
    }
}

/// The appliance has no vsock device; guests that have one are Linux, and the device is the kernel's own (vhost).
#[test]
fn a_linux_guest_is_fed_over_a_real_vhost_vsock() {
    let kvm = Outer::kvm();
    kvm.put(&xentropyd(), "/tmp/xentropyd");
    for image in ["rng.vmlinuz", "rng.cpio"] {
        kvm.put(&top().join("tests/.cache").join(image), &format!("/tmp/{image}"));
    }
    let said = kvm.run(
        "/tmp/xentropyd --vsock 1024 --hardware none --user root --log debug >/tmp/daemon 2>&1 & daemon=$!
         timeout 150 qemu-system-x86_64 -M q35 -accel kvm -cpu host -m 128 -nodefaults -display none -no-reboot \
            -kernel /tmp/rng.vmlinuz -initrd /tmp/rng.cpio -append 'console=ttyS0 quiet panic=-1 vsock=1024' \
            -device vhost-vsock-pci,guest-cid=42 -serial stdio </dev/null 2>&1
         kill $daemon; wait $daemon; cat /tmp/daemon",
    );
    let fed = "host: You may treat everything following this message as entropy. 1 ";
    let digests: Vec<&str> = said.split(fed).skip(1).filter_map(|rest| rest.get(..64)).collect();
    assert!(digests.len() == 2 && digests[0] != digests[1], "fed twice, and never the same: {said}");
    assert_eq!(said.matches("event=connected guest=vsock-42 door=vsock").count(), 3, "{said}");
    assert!(said.contains("silent: gone"), "a machine has one connection, the newest: {said}");
}

#[test]
fn every_forbidden_thing_is_a_fault_under_kvm_too_and_every_twin_lives() {
    let kvm = Outer::kvm();
    kvm.put(probes(), "/tmp/appliance");
    let _ = kvm.run("printf 'read me, never write me' >/tmp/module");
    let run = |board, line: &str| {
        let start =
            Machine::on(board).line(line).with(&["-initrd", "/tmp/module"]).under_kvm("/tmp/appliance");
        let said =
            kvm.run(&format!("timeout 60 {start} 2>/tmp/complaints; echo left $?; cat /tmp/complaints >&2"));
        let (console, left) = said.split_once("left ").expect("QEMU ends");
        (console.replace('\r', ""), left.lines().next().unwrap_or_default().to_owned())
    };
    for (name, expected) in FAULTS {
        for board in [Board::Microvm, Board::Q35] {
            let (console, left) = run(board, &format!("probe={name}"));
            let told = fault(&console).unwrap_or_default();
            assert!(told.starts_with(expected), "{board:?}: {name} should be {expected}: {console}");
            assert_eq!(left, "129", "{board:?}: {name}: {console}");
        }
        let (console, left) = run(Board::Microvm, &format!("twin={name}"));
        assert_eq!((console.as_str(), left.as_str()), (format!("lived: {name}\n").as_str(), "1"));
    }
}
