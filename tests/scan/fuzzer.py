"""tlsfuzzer's scripts, each against the house that its line in the list names, and what they say.

The list has a line for each script: a house (see houses.py), the script, its words. Indented below it: what it finds, as the
message of the exception with every number as N, and why. `left` instead of a house: the script is for what is not spoken here.
Many scripts can speak nothing but CBC in TLS 1.2. With GCM as their first word they offer an AEAD under its name.
"""
import concurrent.futures, os, re, subprocess

COMMIT = "14555fe211456c46deccc4b2d94751dbd894aece"
SOURCE = "https://github.com/tlsfuzzer/tlsfuzzer.git"
NEEDS = ["tlslite-ng==0.9.0b2", "kyber-py==1.2.0"]
AT_ONCE = 3


def checked_out(place):
    """A folder with tlsfuzzer: the one that $TLSFUZZER names, or a clone at a fixed commit."""
    if os.environ.get("TLSFUZZER"):
        return os.environ["TLSFUZZER"]
    folder = os.path.join(place, "tlsfuzzer")
    if not os.path.isdir(folder):
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", SOURCE, folder], check=True)
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", COMMIT, "--", "scripts", "tlsfuzzer"], check=True)
    return folder


# Runs a script that takes the same samples each time; after GCM one that would offer ECDHE with CBC offers it with GCM.
SAME = """import random, runpy, sys
random.seed(2026)
sys.argv = sys.argv[1:]
if sys.argv[0] == "GCM":
    from tlslite.constants import CipherSuite
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA = CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA = CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Line:
    """A script of the list, and what is known of it."""

    def __init__(self, text):
        self.house, self.script, *self.words = text.split()
        self.known = []

    def named(self):
        return " ".join([self.house, self.script, *self.words])

    def knows(self, finding):
        self.known.append((finding.startswith("? "), finding.removeprefix("? ")))


def read(path):
    lines = []
    with open(path) as file:
        for text in file:
            bare = text.split("  #")[0].rstrip()
            if not bare or text.startswith("#"):
                continue
            if text.startswith(" "):
                lines[-1].knows(bare.strip())
            else:
                lines.append(Line(bare))
    return lines


# How a script says what became of a conversation, and the message of the exception that ended it.
BEGUN = re.compile(r"^(.*?)\s?\.\.\.$")
ENDED = re.compile(r"^(?:AssertionError|[\w.]*Error|[\w.]*Exception)(?:: (.*))?$")


def plain(message):
    """A message without what differs from run to run: numbers, and lists."""
    message = re.sub(r"\((?:[\w ]+, ){3,}.*", "(...)", message)
    return re.sub(r"\d+", "N", message).strip()[:160]


def heard(output):
    """The messages of all conversations that failed, and whether an honest one was among them."""
    found, honest, name, message = set(), True, "", ""
    for line in [*output.splitlines(), "end ..."]:
        if begun := BEGUN.match(line):
            if message:
                found.add(message)
                honest = honest and name != "sanity"
            name, message = begun.group(1), ""
        elif ended := ENDED.match(line):
            message = plain(ended.group(1) or line)
        elif line == "OK":
            message = ""
    return found, honest


def run(python, folder, house, papers, line):
    words = [word.replace("PAPERS", papers) for word in line.words if word != "GCM"]
    start = [python, "-c", SAME, *(["GCM"] if "GCM" in line.words else [])]
    command = ["nice", "-n", "5", *start, f"scripts/{line.script}", "-h", "127.0.0.1", "-p", str(house.port), *words]
    try:
        done = subprocess.run(command, cwd=folder, env=dict(os.environ, PYTHONPATH=folder, PYTHONHASHSEED="0"), capture_output=True, text=True, timeout=1800)
    except subprocess.TimeoutExpired:
        return "", ["it never ended"]
    output = done.stdout + done.stderr
    return output, judged(line, output, done.returncode)


def judged(line, output, code):
    """What is wrong with a run of a script."""
    tally = dict(re.findall(r"^(TOTAL|PASS|FAIL): (\d+)$", output, re.M))
    if not tally:
        return [f"it came to no end: {output[-400:]}"]
    found, honest = heard(output)
    if not honest:
        return [f"an honest conversation failed: {sorted(found)}"]
    if code and not found:
        return ["it failed and did not say why"]
    known = [pattern for _, pattern in line.known]
    new = [f"new: {one}" for one in sorted(found) if one not in known]
    return new + [f"gone: {pattern}" for may_miss, pattern in line.known if not may_miss and pattern not in found]


def findings(way, python, folder, path, words, report):
    """Every fault, as a line; nothing when all is as it is known."""
    lines = read(path)
    scripts = {name for name in os.listdir(os.path.join(folder, "scripts")) if name.startswith("test-")}
    if not words:
        yield from (f"not in the list: {name}" for name in sorted(scripts - {line.script for line in lines}))
    wanted = [line for line in lines if line.house != "left" and (not words or any(word in line.script for word in words))]
    houses = {name: way.house(name) for name in dict.fromkeys(line.house for line in wanted)}
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as crew, open(report, "w") as file:
        done = crew.map(lambda line: (line, *run(python, folder, houses[line.house], way.papers.folder, line)), wanted)
        for line, output, faults in done:
            file.write(f"=== {line.named()}\n{output}\n")
            file.flush()
            yield from (f"{line.named()}: {fault}" for fault in faults)
    yield from (f"the house {name} has fallen" for name, house in houses.items() if not house.lives())
