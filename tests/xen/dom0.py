"""A dom0 as tests/xen/debian makes it, started under QEMU, with a shell in it; and the commands of our pages."""
import io, os, pathlib, re, socket, subprocess, tarfile, time

TOP = pathlib.Path(__file__).resolve().parents[2]
CACHE = TOP / "tests/.cache"
SHIPPED = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target")) / "x86_64-unknown-linux-gnu/release"
OPERATOR = TOP / "appliance/launch/operator"
UNITS = TOP / "entropy/daemon/systemd"
ADDRESSES = [("192.0.2.7", "10.0.2.7"), ("192.0.2.1", "10.0.2.2")]
LONG = 400


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def page(section, file=OPERATOR / "dom0.md"):
    """The commands below a heading of a page; packages are in the image already."""
    below = re.search(rf"^## {section}$(.*?)(?=^## |\Z)", file.read_text(), re.S | re.M).group(1)
    lines = [line[4:] for line in below.splitlines() if line.startswith("    ") and not line.startswith("    apt ")]
    assert lines, f"the page has no commands below {section!r}"
    return moved("\n".join(lines))


def moved(text):
    for written, here in ADDRESSES:
        text = text.replace(written, here)
    return text


def luggage(to):
    """What an operator carries to a dom0, as one archive that is a disk there."""
    with tarfile.open(to, "w") as tar:
        for name in ("gatehouse", "appliance", "xentropyd"):
            tar.add(SHIPPED / name, name)
        tar.add(UNITS, "entropy/daemon/systemd")
        example = moved((OPERATOR / "domain-xen.xml").read_text()).encode()
        about = tarfile.TarInfo("domain-xen.xml")
        about.size = len(example)
        tar.addfile(about, io.BytesIO(example))


class Dom0:
    def __init__(self, folder):
        self.folder, self.control, self.https = folder, free_port(), free_port()
        (folder / "serial").touch()
        luggage(folder / "luggage")
        net = f"user,id=n,hostfwd=tcp:127.0.0.1:{self.control}-:2323,hostfwd=tcp:127.0.0.1:{self.https}-10.0.2.7:443"
        line = "root=/dev/vda rw console=hvc0 net.ifnames=0 systemd.show_status=1 systemd.journald.forward_to_console=1"
        self.qemu = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-nodefaults", "-display", "none", "-cpu",
             "EPYC,-smap,-monitor", "-m", "1300", "-kernel", CACHE / "debian.xen", "-initrd",
             f"{CACHE}/debian.vmlinuz {line},{CACHE}/debian.initrd", "-append",
             "console=com1 com1=115200,8n1 dom0_mem=900M,max:900M loglvl=warning", "-serial", f"file:{folder}/serial",
             "-drive", f"file={CACHE}/debian.img,format=raw,if=virtio,snapshot=on",
             "-drive", f"file={folder}/luggage,format=raw,if=virtio,readonly=on",
             "-netdev", net, "-device", "e1000,netdev=n,romfile="], stdin=subprocess.DEVNULL)

    def serial(self):
        return (self.folder / "serial").read_text(errors="replace")

    def try_run(self, script, limit=LONG):
        """What a script has printed, and its status; none if nobody answers."""
        said = b""
        try:
            with socket.create_connection(("127.0.0.1", self.control), timeout=limit) as door:
                door.sendall(f"( {script}\n) </dev/null 2>&1; echo the-end-$?\nexit\n".encode())
                while piece := door.recv(65536):
                    said += piece
        except OSError:
            pass
        said, _, status = said.decode(errors="replace").rpartition("the-end-")
        return said, int(status) if status.strip().isdigit() else None

    def run(self, script, limit=LONG):
        said, status = self.try_run(script, limit)
        assert status == 0, f"{script}: status {status}: {said}"
        return said

    def until(self, done, what, limit=LONG):
        end = time.monotonic() + limit
        while not done():
            assert self.qemu.poll() is None, "the machine has ended"
            assert time.monotonic() < end, f"not within {limit} s: {what}"
            time.sleep(1)

    def comes_up(self):
        self.until(lambda: self.try_run("true", 10)[1] == 0, "dom0 answers", 1200)
        state = self.try_run("systemctl is-system-running --wait; :", 900)[0].strip()
        assert state == "running", self.try_run("systemctl --failed; systemctl list-jobs")[0]

    def serves(self):
        return subprocess.run(
            ["curl", "-sk", "--fail", "-m", "30", "--connect-to", f"localhost:443:127.0.0.1:{self.https}", "https://localhost/"],
            capture_output=True, text=True).stdout

    def is_served(self, domain):
        """The page reaches this host, and the daemon of dom0's fed it."""
        self.until(lambda: "<title>Gatehouse" in self.serves(), f"{domain} serves its page")
        metrics = self.run("curl -s --unix-socket /run/xentropyd/metrics.sock http://localhost/metrics")
        fed = re.search(rf'^xentropyd_guest_bytes{{guest="{domain}",door="watch"}} (\d+)', metrics, re.M)
        status = self.run(f"gatehouse status {domain}")
        assert fed and "serving" in status and "fed by the host" in status, metrics + status
        return f"the page has come; {status.splitlines()[-1]}"

    def domains(self):
        return self.run("xl list | awk 'NR > 2 { print $1, $2, $5 }'")

    def number(self):
        """None while there is no such domain, as between its end and its next beginning."""
        said, status = self.try_run("xl domid shop")
        return said.strip() if status == 0 else None

    def is_gone(self):
        self.until(lambda: "shop" not in self.domains(), "the domain has left")
        left = self.run("ls /run/xen-channels /run/gatehouse | grep shop; :")
        assert not left, left

    def pid(self):
        return self.run("systemctl show --value -p MainPID xentropyd").strip()
