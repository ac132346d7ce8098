//! The appliance as a guest of QEMU, with nothing beneath it.

use crate::cable::{self, APPLIANCE, GATEWAY, PREFIX};
use crate::child::{Ward, inherited, leashed};
use crate::control;
use crate::domain;
use crate::feeder::Feeder;
use crate::kvm;
use crate::life::{Ear, Started};
use crate::load::Load;
use crate::run::{Order, Trouble};
use ::control::CHANNEL;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

const QEMU: &str = "qemu-system-x86_64";

/// The boards that the appliance boots on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Board {
    /// The small one, without PCI.
    #[default]
    Microvm,
    /// The PC of today.
    Q35,
    /// The PC of 1996.
    Pc,
}

/// One machine, before it is QEMU's command line.
struct Machine<'a> {
    board: Board,
    kvm: bool,
    megabytes: u64,
    elf: &'a Path,
    words: Vec<String>,
    module: PathBuf,
    net: String,
    entropy: String,
    control: String,
    pcap: Option<&'a Path>,
}

/// Starts it.
pub(crate) fn start(elf: &Path, order: &Order, load: &Load) -> Result<Started, Trouble> {
    let qemu = find().ok_or(Trouble::NoQemu)?;
    if order.tap.is_none() && !order.allow_out.is_empty() {
        return Err(Trouble::NotInQemu);
    }
    let kvm = works(&qemu);
    let feeder = Feeder::start(elf, order.entropy.as_deref())?;
    let (ours, theirs) = control::channel()?;
    let module = load.reseed().and_then(|()| load.path())?;
    let megabytes = memory(order, load);
    let machine = Machine {
        board: order.machine.unwrap_or_default(),
        kvm,
        megabytes,
        elf,
        words: words(order),
        module,
        net: network(order)?,
        entropy: feeder.chardev(),
        control: inherited(&theirs)?,
        // Of a TAP device QEMU records more than frames: the launcher does it.
        pcap: order.pcap.as_deref().filter(|_| order.tap.is_none()),
    };
    let mut command = leashed(&qemu)?;
    let ward = Ward::start(command.args(machine.line()).stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let addresses = order.addresses();
    let (control, is_well) = (Some(ours), Box::new(left_well));
    Ok(Started { ward, feeder, gateway: None, addresses, is_well, ear: Ear::Channel, control })
}

fn find() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(QEMU)).find(|file| file.is_file())
}

fn works(qemu: &Path) -> bool {
    let outcome = kvm::works(qemu);
    if let Err(why) = &outcome {
        eprintln!("gatehouse: no KVM: {why}; the machine is emulated, which is slow");
    }
    outcome.is_ok()
}

/// What was asked for, or what the bundle needs: it lies in the guest's memory.
fn memory(order: &Order, load: &Load) -> u64 {
    let given = domain::memory(order.mem, load);
    eprintln!("gatehouse: the machine has {given} MB, of which the bundle takes {}", load.megabytes());
    given
}

/// The words that the appliance is told: those of the process.
fn words(order: &Order) -> Vec<String> {
    if order.tap.is_some() {
        return [order.own_words(), order.pinata_words(), order.log_words()].concat();
    }
    let mut words = order.log_words();
    words.extend(["--address".to_owned(), format!("{APPLIANCE}/{PREFIX}")]);
    words.extend(["--gateway".to_owned(), GATEWAY.to_string()]);
    words.extend(order.published_https());
    words.extend(order.own_share());
    words.extend(order.pinata_words());
    words
}

/// QEMU's end of the network: a TAP device, or its user network, closed but for what is published.
fn network(order: &Order) -> Result<String, Trouble> {
    if let Some(tap) = &order.tap {
        return Ok(format!("tap,id=net,ifname={tap},script=no,downscript=no"));
    }
    // Taken and given back: QEMU's own words for a port that is not free help nobody.
    drop(cable::take_ports(&order.published())?);
    let mut net = "user,id=net,restrict=on".to_owned();
    for publish in order.published() {
        net += &format!(",hostfwd=tcp:{}-{APPLIANCE}:{}", publish.at, publish.port);
    }
    Ok(net)
}

/// QEMU ends by itself when it is asked to, or with what the appliance gave to the exit port: nought is 1.
fn left_well(status: &ExitStatus) -> bool {
    matches!(status.code(), Some(0 | 1))
}

impl Machine<'_> {
    /// QEMU's command line.
    fn line(&self) -> Vec<OsString> {
        let mut line = Line(Vec::new());
        line.pair("-M", self.board.name()).pair("-accel", if self.kvm { "kvm" } else { "tcg" });
        line.pair("-cpu", if self.kvm { "host" } else { "max" }).pair("-m", self.megabytes.to_string());
        for word in ["-nodefaults", "-no-user-config", "-no-reboot"] {
            line.word(word);
        }
        line.pair("-display", "none").pair("-global", "virtio-mmio.force-legacy=false");
        line.pair("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
        line.pair("-kernel", self.elf).pair("-initrd", &self.module).pair("-append", self.words.join(" "));
        line.pair("-chardev", "stdio,id=console,signal=off").pair("-serial", "chardev:console");
        line.pair("-device", "isa-debug-exit,iobase=0xf4,iosize=4");
        self.devices(&mut line);
        line.0
    }

    fn devices(&self, line: &mut Line) {
        let on = |device: &str| self.board.device(device);
        line.pair("-netdev", &self.net).pair("-device", on("net") + self.board.net_extra() + ",netdev=net");
        line.pair("-object", "rng-random,id=rng,filename=/dev/urandom");
        line.pair("-device", on("rng") + ",rng=rng");
        line.pair("-chardev", format!("socket,id=entropy,{}", self.entropy));
        line.pair("-device", on("serial"));
        line.pair("-device", "virtserialport,chardev=entropy,name=org.openmirage.entropy.2");
        line.pair("-chardev", format!("socket,id=control,fd={}", self.control));
        line.pair("-device", format!("virtserialport,chardev=control,name={CHANNEL}"));
        if self.board != Board::Microvm {
            line.pair("-device", "vmgenid,guid=auto");
        }
        if let Some(pcap) = self.pcap {
            line.pair("-object", format!("filter-dump,id=pcap,netdev=net,file={}", quoted(pcap)));
        }
    }
}

impl Board {
    const fn name(self) -> &'static str {
        match self {
            Self::Microvm => "microvm,isa-serial=on,ioapic2=off,pit=off,pic=off,rtc=on",
            Self::Q35 => "q35",
            Self::Pc => "pc",
        }
    }

    /// A virtio device as this board carries it: memory-mapped, or on PCI without the registers of old.
    fn device(self, device: &str) -> String {
        match self {
            Self::Microvm => format!("virtio-{device}-device"),
            Self::Q35 | Self::Pc => format!("virtio-{device}-pci,disable-legacy=on"),
        }
    }

    /// A network card on PCI would want a ROM for booting from the network, which is not always installed.
    const fn net_extra(self) -> &'static str {
        match self {
            Self::Microvm => "",
            Self::Q35 | Self::Pc => ",romfile=",
        }
    }
}

/// A path in a list of options: a comma in it is doubled.
pub(crate) fn quoted(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Words for QEMU, one after the other.
struct Line(Vec<OsString>);

impl Line {
    fn word(&mut self, word: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(word.as_ref().to_owned());
        self
    }

    fn pair(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Self {
        self.word(name).word(value)
    }
}
