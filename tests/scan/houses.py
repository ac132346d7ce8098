"""What is scanned: the appliance as it ships, as a process on loopback, once for each kind of site. Each ends with its block."""
import contextlib, os, signal, socket, subprocess, tempfile, threading

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RELEASE = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(TOP, "target")), "x86_64-unknown-linux-gnu/release")
TOOL = os.path.join(RELEASE, "gatehouse")

# The keys that clients show: what `openssl genpkey` is told for each.
KEYS = {
    "rsa": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "rsapss": ["RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"],
    "p256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "p521": ["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    "ed25519": ["ED25519"],
}


def quietly(*words):
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stdout}{done.stderr}")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Papers:
    """A CA, and a server's and a client's certificate of each kind of key, in `folder`."""

    def __init__(self, folder):
        self.folder = folder
        self.key("ca", KEYS["p256"])
        self.openssl("req", "-x509", "-new", "-key", self.at("ca.key"), "-subj", "/CN=Scan", "-days", "30", "-out", self.at("ca.pem"),
                     "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        for kind, words in KEYS.items():
            self.key(kind, words)
            self.leaf(kind, "client", "extendedKeyUsage=clientAuth")
            self.leaf(kind, "server", "extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost,IP:127.0.0.1")

    def at(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *words):
        quietly("openssl", *words)

    def key(self, name, words):
        self.openssl("genpkey", "-algorithm", *words, "-out", self.at(f"{name}.key"))

    def leaf(self, kind, side, extensions):
        name = f"{kind}-{side}"
        with open(self.at(f"{name}.ext"), "w") as file:
            file.write(f"keyUsage=critical,digitalSignature\n{extensions}\n")
        self.openssl("req", "-new", "-key", self.at(f"{kind}.key"), "-subj", f"/CN={name}", "-out", self.at(f"{name}.csr"))
        self.openssl("x509", "-req", "-in", self.at(f"{name}.csr"), "-CA", self.at("ca.pem"), "-CAkey", self.at("ca.key"),
                     "-days", "30", "-extfile", self.at(f"{name}.ext"), "-out", self.at(f"{name}.pem"))
        with open(self.at(f"{name}.pem")) as leaf, open(self.at(f"{kind}.key")) as key, open(self.at(f"{name}.both"), "w") as both:
            both.write(leaf.read() + key.read())


class House:
    """A running launcher; `port` leads to its TLS."""

    def __init__(self, folder, name, verb, port, *more):
        self.name, self.port, self.folder = name, port, folder
        self.log = os.path.join(folder, f"{name}.log")
        words = [TOOL, *verb, folder, "--appliance", os.path.join(RELEASE, "appliance"), "--control", f"{folder}.sock", *more]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines, ready = [], threading.Event()
        self.reader = threading.Thread(target=self.read, args=[ready], daemon=True)
        self.reader.start()
        if not ready.wait(120):
            self.end()
            raise SystemExit(f"{name} never got ready: {''.join(self.lines[-20:])}")

    def read(self, ready):
        for line in self.process.stdout:
            self.lines.append(line)
            if "ready: " in line or "127.0.0.1:" in line:
                ready.set()

    def lives(self):
        return self.process.poll() is None

    def end(self):
        if self.lives():
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def site(folder, papers, kind, clients, profile="intermediate"):
    """Makes the example with a key of this kind and this policy for clients."""
    quietly(TOOL, "init", folder)
    sheet = os.path.join(folder, "gatehouse.toml")
    with open(sheet) as file:
        text = file.read()
    text = text.replace('profile = "intermediate"', f'profile = "{profile}"')
    if kind:
        text = text.replace("tls/localhost.pem", papers.at(f"{kind}-server.pem")).replace("tls/localhost.key", papers.at(f"{kind}.key"))
    if clients:
        text = text.replace("# [site.clients]", "[site.clients]").replace('# policy = "required"', f'policy = "{clients}"')
        text = text.replace('# authorities = "tls/clients.pem"', f'authorities = "{papers.at("ca.pem")}"')
    with open(sheet, "w") as file:
        file.write(text)


def party(folder, papers, kind):
    """Makes a piñata whose CA is the papers'."""
    quietly(TOOL, "pinata", "init", folder)
    sheet = os.path.join(folder, "gatehouse.toml")
    with open(sheet) as file:
        text = file.read()
    for old, new in [("tls/ca.pem", "ca.pem"), ("tls/server.pem", f"{kind}-server.both"),
                     ("tls/caller.pem", f"{kind}-client.both"), ("tls/client.pem", f"{kind}-client.both")]:
        text = text.replace(old, papers.at(new))
    with open(sheet, "w") as file:
        file.write(text)


# Every house that a list can name: the kind of its key (the example's own without one), what it asks of clients, its profile.
HOUSES = {
    "plain": (None, None, "intermediate"),
    "modern": (None, None, "modern"),
    "rsa": ("rsa", None, "intermediate"),
    "required": ("rsa", "required", "intermediate"),
    "optional": ("rsa", "optional", "intermediate"),
    "pinata": ("rsa", None, None),
}


class Street:
    """All houses that somebody asks for, opened when first asked for."""

    def __init__(self, stack):
        self.stack, self.open = stack, {}
        self.folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gatehouse-scan-"))
        papers = os.path.join(self.folder, "papers")
        os.mkdir(papers)
        self.papers = Papers(papers)

    def house(self, name):
        if name not in self.open or not self.open[name].lives():
            self.open[name] = self.start(name)
        return self.open[name]

    def start(self, name):
        kind, clients, profile = HOUSES[name]
        folder, port = os.path.join(self.folder, f"{name}-{len(self.open)}"), free_port()
        if name == "pinata":
            party(folder, self.papers, kind)
            house = House(folder, name, ["pinata", "run"], port, "--publish", f"{port}:10000")
        else:
            site(folder, self.papers, kind, clients, profile)
            house = House(folder, name, ["run"], port, "--publish", f"{port}:443")
        self.stack.callback(house.end)
        return house


@contextlib.contextmanager
def street():
    with contextlib.ExitStack() as stack:
        yield Street(stack)
