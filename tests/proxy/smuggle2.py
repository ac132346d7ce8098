"""The same over HTTP/2, where nothing is said in lines: whatever would be one, or another request, once it is written down
as HTTP/1. Each request has a connection of its own and a number above 1000; `/smuggled-N` must never arrive."""
import concurrent.futures, socket, ssl, struct, sys

HOST, CA = sys.argv[1], sys.argv[2]
PATIENCE = 8
E = "\r\n"
DATA, HEADERS, RST, SETTINGS, GOAWAY = 0, 1, 3, 4, 7


def inner(n):
    return f"GET /smuggled-{n} HTTP/1.1{E}Host: localhost{E}{E}"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def number(count):
    if count < 127:
        return bytes([count])
    rest, more = bytes([127]), count - 127
    while more >= 128:
        rest, more = rest + bytes([more & 127 | 128]), more >> 7
    return rest + bytes([more])


def block(headers):
    def text(words):
        words = words.encode("latin-1")
        return number(len(words)) + words
    return b"".join(b"\x00" + text(name) + text(value) for name, value in headers)


def usual(n, method="GET", path=None, authority="localhost"):
    path = f"/case-{n}" if path is None else path
    return [(":method", method), (":scheme", "https"), (":path", path), (":authority", authority)]


def get(*more):
    return lambda n: (usual(n) + [(name, value(n) if callable(value) else value) for name, value in more], None, None)


def post(*more, body=None, trailers=None):
    def made(n):
        headers = usual(n, "POST") + [(name, value(n) if callable(value) else value) for name, value in more]
        said = (body or inner)(n)
        ends = [(name, value(n) if callable(value) else value) for name, value in trailers] if trailers else None
        return headers, said, ends
    return made


def whole(make):
    return lambda n: (make(n), None, None)


def line(more):
    return lambda n: f"a{more}Content-Length: 0{E}{E}{inner(n)}"


CASES = [
    # Honest ones, so that something arrives.
    *[get() for _ in range(4)], post(), post(trailers=[("x-sum", "7")]),
    # Lines in values and in names.
    *[get(("x-a", line(end))) for end in ["\r\n", "\n", "\r", "\0", "\r\n\t"]],
    *[get((name, "x")) for name in [
        "x-a: b\r\ntransfer-encoding: chunked\r\nx", "x-a\r\nx", "x a", "x:a", "X-A", "", "x-a\0", "transfer-encoding ", "x\u00e9"]],
    get(("cookie", "a=b"), ("cookie", line("\r\n"))),
    get(("user-agent", lambda n: f"a{E}{E}{inner(n)}")),
    # What belongs to a connection of HTTP/1.
    *[post((name, value)) for name, value in [
        ("transfer-encoding", "chunked"), ("transfer-encoding", "identity"), ("transfer-encoding", "\x0bchunked"),
        ("connection", "keep-alive"), ("connection", "content-length"), ("connection", "transfer-encoding, close"),
        ("keep-alive", "timeout=5"), ("proxy-connection", "keep-alive"), ("upgrade", "h2c"), ("te", "gzip"), ("te", "chunked"),
        ("expect", "100-continue"), ("http2-settings", "AAMAAABk"), ("transfer_encoding", "chunked")]],
    post(("transfer-encoding", "chunked"), body=lambda n: f"0{E}{E}{inner(n)}"),
    post(("transfer-encoding", "chunked"), ("content-length", "4"), body=lambda n: f"0{E}{E}{inner(n)}"),
    # Lengths that are not those of the frames.
    *[post(("content-length", length)) for length in [
        "0", "1", "5", "9999", "-1", "+5", "0x5", "5, 5", "5 5", "", "18446744073709551616", "1e1", "00", "٠".encode().decode("latin-1")]],
    post(("content-length", "0"), ("content-length", lambda n: str(len(inner(n))))),
    post(("content-length", lambda n: str(len(inner(n)))), ("content-length", lambda n: str(len(inner(n))))),
    get(("content-length", "60")), get(("content-length", "0"), ("content-length", "60")),
    # Targets and methods that end before their end.
    *[whole(lambda n, p=path: usual(n, path=p(n))) for path in [
        lambda n: f"/case-{n} HTTP/1.1{E}Host: localhost{E}{E}{inner(n)}", lambda n: f"/case-{n} /smuggled-{n}",
        lambda n: f"/case-{n}\tHTTP/1.1", lambda n: f"/case-{n}\n", lambda n: f"/case-{n}\0", lambda n: "", lambda n: "*",
        lambda n: f"case-{n}", lambda n: f"http://other/case-{n}", lambda n: f"//other/case-{n}", lambda n: f"/case-{n}#x",
        lambda n: f"/case-{n}%0d%0a%0d%0aGET%20/smuggled-{n}", lambda n: f"/case-{n}\x7f", lambda n: f"/case-{n}?\u00e9 x"]],
    *[whole(lambda n, m=method: usual(n, method=m(n))) for method in [
        lambda n: f"GET /smuggled-{n} HTTP/1.1{E}Host: localhost{E}{E}GET", lambda n: "GET ", lambda n: "", lambda n: "get\r\n",
        lambda n: "CONNECT", lambda n: "PRI"]],
    # Whom it is for.
    *[whole(lambda n, a=name: usual(n, authority=a)) for name in [
        "localhost\r\nx: y", "localhost x", "a@localhost", "other", "localhost:443:443", "", "localhost/x", "localhost\0", "localhost?"]],
    get(("host", "other")), get(("host", "localhost"), ("host", "other")), get(("host", "localhost\r\nx: y")),
    whole(lambda n: usual(n)[:3] + [("host", "localhost"), ("host", "other")]),
    # Pseudo-headers where and what they may not be.
    *[whole(lambda n, e=extra: usual(n) + e(n)) for extra in [
        lambda n: [(":path", f"/smuggled-{n}")], lambda n: [(":method", "POST")], lambda n: [(":authority", "other")],
        lambda n: [("x-a", "b"), (":path", f"/smuggled-{n}")], lambda n: [(":status", "200")], lambda n: [(":x", "y")],
        lambda n: [(":protocol", "websocket")], lambda n: [(": path", f"/smuggled-{n}")], lambda n: [(":", f"/smuggled-{n}")]]],
    whole(lambda n: usual(n)[:2] + usual(n)[3:]), whole(lambda n: usual(n)[1:]), whole(lambda n: usual(n)[:1] + usual(n)[2:]),
    *[whole(lambda n, s=scheme: usual(n)[:1] + [(":scheme", s)] + usual(n)[2:]) for scheme in [
        "http", "https://localhost/x", "https\r\nx: y", "", "ftp"]],
    # Trailers.
    *[post(trailers=[(name, value)]) for name, value in [
        ("transfer-encoding", "chunked"), ("content-length", "0"), ("x-a", line("\r\n")), (":path", lambda n: f"/smuggled-{n}"),
        ("connection", "close"), ("host", "other"), ("x-a\r\n\r\nGET", "b"), ("X-A", "b")]],
]


def request(n, headers, body, trailers):
    last = 1 if body is None else 0
    out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + frame(HEADERS, 4 | last, 1, block(headers))
    if body is not None:
        out += frame(DATA, 0 if trailers else 1, 1, body.encode())
    if trailers:
        out += frame(HEADERS, 5, 1, block(trailers))
    return out


def said(heard):
    """What became of the stream: the status if it is 200, `other` for another answer, `reset`, `goodbye`."""
    while len(heard) >= 9:
        length, kind, stream = int.from_bytes(heard[:3], "big"), heard[3], int.from_bytes(heard[5:9], "big")
        payload, heard = heard[9:9 + length], heard[9 + length:]
        if kind == HEADERS and stream == 1:
            return "200" if payload[:1] == b"\x88" else "other"
        if kind == RST and stream == 1:
            return "reset"
        if kind == GOAWAY:
            return "goodbye"
    return None


def say(n, case):
    context = ssl.create_default_context(cafile=CA)
    context.set_alpn_protocols(["h2"])
    heard = b""
    with socket.create_connection((HOST, 443), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            try:
                sock.sendall(request(n, *case(n)))
                sock.settimeout(PATIENCE)
                while said(heard) is None and (more := sock.recv(65536)):
                    heard += more
            except OSError:
                pass
    return said(heard) or "silence"


with concurrent.futures.ThreadPoolExecutor(len(CASES)) as pool:
    heard = pool.map(lambda pair: say(*pair), enumerate(CASES, 1000))
    for n, status in enumerate(heard, 1000):
        print(n, status, flush=True)
