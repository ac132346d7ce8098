"""What the scripts beside stand on: an appliance on a TAP device, its neighbours, and an end to all of it."""
import contextlib, os, pathlib, shutil, signal, subprocess, sys, tempfile, time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", TOP / "target")) / "x86_64-unknown-linux-gnu/release"
HERE, THERE = f"stage-{os.getpid()}-c", f"stage-{os.getpid()}-s"
STARTED = []


def run(*words, **more):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, **more).stdout


def start(*words, log=subprocess.DEVNULL):
    child = subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    STARTED.append(child)
    return child


def end(child):
    """Asked first, and not for ever."""
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def leave_when_asked():
    """Whoever is asked to end does what its `finally` says, once: to be asked again changes nothing."""
    def leave(number, _):
        for one in asked:
            signal.signal(one, signal.SIG_IGN)
        sys.exit(128 + number)
    asked = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup
        asked.append(signal.SIGHUP)
    for one in asked:
        signal.signal(one, leave)


def until(is_so, what):
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def inside(*words):
    """A program among the appliance's clients, as words."""
    return ["ip", "netns", "exec", HERE, *words]


def wires():
    for name in (HERE, THERE):
        run("ip", "netns", "add", name)
    for line in ["link set lo up", "tuntap add dev tap0 mode tap vnet_hdr", "addr add 192.0.2.1/24 dev tap0",
                 "link set tap0 up", f"link add v0 type veth peer name v1 netns {THERE}",
                 "addr add 198.51.100.1/24 dev v0", "link set v0 up"]:
        run("ip", "-n", HERE, *line.split())
    run("ip", "-n", THERE, "addr", "add", "198.51.100.2/24", "dev", "v1")
    run("ip", "-n", THERE, "link", "set", "v1", "up")


def appliance(folder, lines):
    """The example with these lines at its end, at 192.0.2.7."""
    site = folder / "site"
    run(TARGET / "gatehouse", "init", site)
    with open(site / "gatehouse.toml", "a") as sheet:
        sheet.write(lines)
    run(TARGET / "gatehouse", "pack", site, "-o", folder / "bundle")
    (folder / "guests").mkdir(mode=0o700)
    start(TARGET / "xentropyd", "--watch", folder / "guests", "--user", "root", log=open(folder / "daemon", "wb"))
    child = start("ip", "netns", "exec", HERE, "taskset", "-c", "0", TARGET / "appliance", "--tap", "tap0", "--bundle",
                  folder / "bundle", "--address", "192.0.2.7/24", "--entropy", f"listen:{folder}/guests/a.entropy",
                  log=open(folder / "console", "wb"))
    until(lambda: "ready:" in (folder / "console").read_text(), "the appliance is not ready")
    return child


@contextlib.contextmanager
def stage():
    """A folder, and the namespaces; at the end nothing is left of them."""
    if os.getuid() != 0:
        sys.exit(f"{sys.argv[0]}: it makes a TAP device and namespaces: run it as root")
    leave_when_asked()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="stage-"))
    os.chmod(folder, 0o755)
    try:
        wires()
        yield folder
    finally:
        for one in reversed(STARTED):
            end(one)
        for name in (HERE, THERE):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        shutil.rmtree(folder)
