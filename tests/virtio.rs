//! The KVM world on real (emulated) devices: network, named ports and random bytes on every board.
//!
//! The image is `appliance/probes/guest.rs`; the test holds the other end of its cable and of its ports.

use bench::machine::{BOARDS, Board, Machine, Running, probes};
use bench::outer::Outer;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const CONTROL: &str = "gatehouse.control";
const ENTROPY: &str = "org.openmirage.entropy.2";

/// A machine with all devices, and the other ends of them.
struct Bench {
    machine: Running,
    cable: TcpStream,
    folder: tempfile::TempDir,
}

fn image() -> PathBuf {
    probes().with_file_name("guest")
}

fn suffix(board: Board) -> &'static str {
    if board == Board::Microvm { "device" } else { "pci" }
}

/// A board whose devices speak the interface of virtio 1.0.
fn modern(board: Board) -> Machine {
    let machine = Machine::on(board);
    if board == Board::Microvm {
        machine.with(&["-global", "virtio-mmio.force-legacy=false"])
    } else {
        machine
    }
}

impl Bench {
    fn on(board: Board) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kind = suffix(board);
        let cable = TcpListener::bind("127.0.0.1:0").unwrap();
        let net = format!("socket,id=n,connect={}", cable.local_addr().unwrap());
        let [nic, serial, rng] = ["net", "serial", "rng"].map(|name| format!("virtio-{name}-{kind}"));
        let [control, entropy] = [CONTROL, ENTROPY].map(|name| {
            let path = folder.path().join(name);
            format!("socket,id={name},path={},server=on,wait=off", path.display())
        });
        let [a, b] = [CONTROL, ENTROPY].map(|name| format!("virtserialport,chardev={name},name={name}"));
        let machine = modern(board).line("one --two=3").with(&[
            "-netdev",
            &net,
            "-device",
            &format!("{nic},netdev=n"),
            "-device",
            &serial,
            "-device",
            &rng,
            "-chardev",
            &control,
            "-device",
            &a,
            "-chardev",
            &entropy,
            "-device",
            &b,
        ]);
        let machine = machine.running(&image());
        let (cable, _) = cable.accept().unwrap();
        cable.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = machine.said("ready");
        Self { machine, cable, folder }
    }

    /// Sits down at the other end of a port.
    fn peer(&self, name: &str) -> UnixStream {
        let peer = UnixStream::connect(self.folder.path().join(name)).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer
    }

    /// How often the guest said that a port was opened, or closed.
    fn count(&self, name: &str, word: &str) -> usize {
        self.machine.console().matches(&format!("{name} {word}")).count()
    }

    /// Waits until the guest has noticed so often that a peer went.
    fn goes(&self, name: &str, often: usize) {
        let end = Instant::now() + PATIENCE;
        while self.count(name, "closed") < often && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.count(name, "closed"), often);
    }

    /// How many frames the guest sent back, and how often it woke up.
    fn sum(&self) -> (u64, u64) {
        let mut peer = self.peer(CONTROL);
        peer.write_all(b"sum\n").unwrap();
        let mut answer = String::new();
        while !answer.ends_with('\n') {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            answer.push(byte[0].into());
        }
        let mut numbers = answer.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}

/// A frame of the type for experiments, with a number in it and the rest made from the number.
fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut frame = [&[0x52, 0x54, 0, 0x12, 0x34, 0x56][..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xb5]].concat();
    frame.extend(number.to_be_bytes());
    frame.extend((frame.len()..len).map(|at| (at as u32).wrapping_mul(number + 7) as u8));
    frame
}

fn send(cable: &mut impl Write, frame: &[u8]) {
    cable.write_all(&[&(frame.len() as u32).to_be_bytes()[..], frame].concat()).unwrap();
}

fn receive(cable: &mut impl Read) -> Vec<u8> {
    let mut len = [0; 4];
    cable.read_exact(&mut len).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(len) as usize];
    cable.read_exact(&mut frame).unwrap();
    frame
}

/// What comes back when a frame was sent: the same, with the addresses swapped.
fn echo(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..12].rotate_left(6);
    frame
}

#[test]
fn every_board_has_a_network_named_ports_and_random_bytes() {
    for board in BOARDS {
        let mut bench = Bench::on(board);
        let console = bench.machine.console();
        assert!(console.contains("mac: [82, 84, 0, 18, 52, 86], mtu: 1500"), "{board:?}: {console}");
        assert!(console.contains("words [\"one\", \"--two=3\"]"), "{board:?}: {console}");
        assert!(console.contains("random 16 ["), "{board:?}: {console}");
        assert!(!console.contains("virtio:"), "a complaint on {board:?}: {console}");
        for name in [CONTROL, ENTROPY] {
            assert!(console.contains(&format!("channel {name}\n")), "{board:?}: {console}");
            let mut peer = bench.peer(name);
            peer.write_all(b"who is there?").unwrap();
            let mut answer = [0; 13];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"who is there?");
        }
        for len in [60, 61, 1514, 4084, 4085, 9014, 65_000] {
            send(&mut bench.cable, &frame(9, len));
            assert!(receive(&mut bench.cable) == echo(frame(9, len)), "{len} bytes on {board:?}");
        }
    }
}

#[test]
fn a_storm_of_tiny_frames_comes_back_whole_and_in_order() {
    const FRAMES: u32 = 30_000;
    for board in [Board::Microvm, Board::Q35] {
        let bench = Bench::on(board);
        let mut outward = bench.cable.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            let all: Vec<u8> =
                (0..FRAMES).flat_map(|number| [vec![0, 0, 0, 60], frame(number, 60)].concat()).collect();
            outward.write_all(&all).unwrap();
        });
        let mut inward = std::io::BufReader::new(&bench.cable);
        for number in 0..FRAMES {
            assert!(receive(&mut inward) == echo(frame(number, 60)), "frame {number} on {board:?}");
        }
        sender.join().unwrap();
        assert_eq!(bench.sum().0, u64::from(FRAMES));
    }
}

#[test]
fn a_port_is_opened_and_closed_again_and_again_and_never_mixes_its_peers() {
    let bench = Bench::on(Board::Microvm);
    for round in 0..30_u32 {
        let mut peer = bench.peer(ENTROPY);
        let said: Vec<u8> = (0..20_000_u32).map(|at| (at ^ round) as u8).collect();
        let mut writer = peer.try_clone().unwrap();
        let ours = said.clone();
        let talker = std::thread::spawn(move || writer.write_all(&ours).unwrap());
        let mut heard = vec![0; said.len()];
        peer.read_exact(&mut heard).unwrap();
        assert!(heard == said, "round {round}");
        talker.join().unwrap();
    }
    bench.goes(ENTROPY, 30);
    assert_eq!(bench.count(ENTROPY, "opened"), 30);
}

/// QEMU forgets one of the port's sixteen buffers each time that such a peer goes.
#[test]
fn a_port_outlives_peers_that_go_without_reading() {
    const DEAF: usize = 20;
    let bench = Bench::on(Board::Microvm);
    for number in 1..=DEAF {
        let mut deaf = bench.peer(ENTROPY);
        deaf.write_all(&[1; 400_000]).unwrap();
        // Until what comes back is more than QEMU can get rid of.
        std::thread::sleep(Duration::from_millis(100));
        drop(deaf);
        bench.goes(ENTROPY, number);
    }
    for name in [ENTROPY, CONTROL] {
        let mut peer = bench.peer(name);
        peer.write_all(b"who is there?").unwrap();
        let mut answer = [0; 13];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"who is there?");
    }
}

#[test]
fn a_peer_that_does_not_read_holds_nobody() {
    let mut bench = Bench::on(Board::Microvm);
    let mut deaf = bench.peer(ENTROPY);
    deaf.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    while deaf.write(&[1; 10_000]).is_ok() {}
    for number in 0..100 {
        send(&mut bench.cable, &frame(number, 200));
        assert!(receive(&mut bench.cable) == echo(frame(number, 200)));
    }
    let mut heard = [0; 100_000];
    deaf.read_exact(&mut heard).unwrap();
    assert!(heard.iter().all(|byte| *byte == 1), "and it may read later");
}

#[test]
fn who_has_nothing_to_do_sleeps() {
    for board in BOARDS {
        let bench = Bench::on(board);
        let (_, before) = bench.sum();
        std::thread::sleep(Duration::from_secs(2));
        let (_, after) = bench.sum();
        assert!(after - before < 30, "it woke {} times on {board:?}", after - before);
    }
}

#[test]
fn the_words_about_devices_are_understood_and_taken_away() {
    let machine = modern(Board::Microvm).line("one").with(&["-M", "acpi=off"]);
    let machine = machine.with(&["-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n"]);
    let machine = machine.with(&["-device", "virtio-rng-device"]).running(&image());
    let console = machine.said("ready");
    assert!(console.contains("words [\"one\"]") && console.contains("random 16"), "{console}");
}

#[test]
fn what_cannot_be_used_is_named_with_the_remedy() {
    let net = ["-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n"];
    let told = |machine: Machine, words: [&str; 2]| {
        let console = machine.run_until(&image(), "give the machine a virtio-net").console;
        for word in words {
            assert!(console.contains(word), "{word:?} is not in {console:?}");
        }
    };
    told(Machine::on(Board::Microvm).with(&net), ["old interface", "virtio-mmio.force-legacy=false"]);
    told(modern(Board::Microvm).with(&net).with(&["-M", "ioapic2=on"]), ["interrupt", "ioapic2=off"]);
    let no_messages = ["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,vectors=0"];
    told(modern(Board::Q35).with(&no_messages), ["PCI 00:", "MSI-X"]);
    let old =
        ["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,disable-modern=on,disable-legacy=off"];
    told(modern(Board::Pc).with(&old), ["PCI 00:", "old interface"]);
}

#[test]
fn a_device_behind_a_bridge_is_found() {
    let bridged = ["-device", "pcie-root-port,id=behind", "-netdev", "user,id=n"];
    let net = ["-device", "virtio-net-pci,netdev=n,bus=behind"];
    let machine = modern(Board::Q35).with(&bridged).with(&net).running(&image());
    assert!(machine.said("ready").contains("mtu: 1500"));
}

#[test]
fn the_power_button_asks_to_stop_and_the_generation_is_the_hosts() {
    // A GUID's first three numbers are little-endian, and so is ours.
    let kept = "generation Some(100f0e0d0c0b0a090708050601020304)";
    let keeper = ["-device", "vmgenid,guid=01020304-0506-0708-090a-0b0c0d0e0f10"];
    for (board, card, keeper, expected) in [
        (Board::Q35, "virtio-net-pci,netdev=n", &keeper[..], kept),
        (Board::Pc, "virtio-net-pci,netdev=n", &keeper[..], kept),
        (Board::Microvm, "virtio-net-device,netdev=n", &[], "generation None"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let monitor = folder.path().join("monitor");
        let words = format!("unix:{},server=on,wait=off", monitor.display());
        let machine = modern(board).with(&["-netdev", "user,id=n", "-device", card]).with(keeper);
        let machine = machine.with(&["-monitor", &words]).running(&image());
        assert!(machine.said("ready").contains(expected), "{board:?}: {}", machine.console());
        let mut monitor = UnixStream::connect(&monitor).unwrap();
        monitor.write_all(b"system_powerdown\n").unwrap();
        let _ = machine.said("asked to stop");
    }
}

/// Interrupts, notifications and timing differ between emulation and a real KVM, so all of it once more there.
#[test]
fn under_a_real_kvm_every_device_works_on_every_board() {
    const FRAMES: u32 = 500;
    let outer = Outer::kvm();
    outer.put(&image(), "/guest");
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames");
    let all = (0..FRAMES).flat_map(|number| [vec![0, 0, 5, 234], frame(number, 1514)].concat());
    std::fs::write(&frames, all.collect::<Vec<u8>>()).unwrap();
    outer.put(&frames, "/frames");
    for (board, kind, words) in [
        (
            "microvm,isa-serial=on,ioapic2=off,pit=off,pic=off,rtc=on",
            "device",
            "virtio-mmio.force-legacy=false",
        ),
        ("q35", "pci", "virtio-net-pci.romfile="),
        ("pc", "pci", "virtio-net-pci.romfile="),
    ] {
        let script = KVM.replace("BOARD", board).replace("KIND", kind).replace("WORDS", words);
        let said = outer.run(&script);
        assert!(said.contains("random 16 ["), "{board}: {said}");
        assert!(said.contains("who is there?"), "{board}: {said}");
        assert!(said.contains(&format!("echo: {}\n", FRAMES * 1518)), "{board}: {said}");
        assert!(!said.contains("virtio:"), "a complaint on {board}: {said}");
    }
}

/// What is done in the outer machine with one board.
const KVM: &str = "
cd /; rm -f said echoes; touch said echoes
qemu-system-x86_64 -accel kvm -M BOARD -cpu host -m 64 -nodefaults -display none -no-reboot -global WORDS \
    -kernel /guest -serial file:/said -netdev socket,id=n,listen=127.0.0.1:7000 \
    -device virtio-net-KIND,netdev=n -device virtio-serial-KIND -device virtio-rng-KIND \
    -chardev socket,id=c,path=/port,server=on,wait=off -device virtserialport,chardev=c,name=gatehouse.control &
for second in $(seq 60); do grep -q ready said && break; sleep 1; done
(echo 'who is there?'; sleep 5) | socat - UNIX-CONNECT:/port
(cat frames; for second in $(seq 60); do [ $(wc -c <echoes) -ge $(wc -c <frames) ] && break; sleep 1; done) |
    socat - TCP:127.0.0.1:7000 >>echoes
echo echo: $(wc -c <echoes)
cat said
kill $!; wait $!; true";

/// The path of the image is known before any test starts a machine, so that none of them waits for the compiler.
#[test]
fn the_image_is_there() {
    assert!(Path::new(&image()).exists());
}
