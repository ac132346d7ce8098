"""Sends requests that two parsers could read in two ways, each over a TLS connection of its own. Prints the status of
every answer on each. Every request that may arrive is for /case-N; what must never arrive is for /smuggled-N."""
import concurrent.futures, socket, ssl, sys

HOST, CA = sys.argv[1], sys.argv[2]
E = "\r\n"
# How long a connection that stays open is listened to: all of them at once.
PATIENCE = 8
INNER = "GET /smuggled-%d HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(lines, body):
    return lambda n: f"POST /case-{n} HTTP/1.1{E}Host: localhost{E}" + "".join(l + E for l in lines) + E + body(n)


def inner(n):
    return INNER % n


def hidden(n):
    """A whole request, as the rest of a chunked body that has ended."""
    return "0\r\n\r\n" + inner(n)


def counted(n):
    return "%x\r\n%s\r\n0\r\n\r\n" % (len(inner(n)), inner(n))


CASES = [
    # Length and chunked, in both orders and in every disguise.
    post(["Content-Length: 6", "Transfer-Encoding: chunked"], hidden),
    post(["Transfer-Encoding: chunked", "Content-Length: 6"], hidden),
    post(["Content-Length: 4", "Transfer-Encoding: chunked"], counted),
    *[
        post(["Content-Length: 6", coding], hidden)
        for coding in [
            "Transfer-Encoding : chunked", "Transfer-Encoding:\tchunked", "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding:\x0bchunked", "Transfer-Encoding: \"chunked\"", " Transfer-Encoding: chunked",
            "X: a\r\n Transfer-Encoding: chunked", "X: a\nTransfer-Encoding: chunked", "X: a\rTransfer-Encoding: chunked",
            "Transfer_Encoding: chunked", "Transfer-Encoding\x00: chunked", "Transfer-Encoding: chunked\x00",
            "Transfer-Encoding: CHUNKED", "Transfer-Encoding: chunked;a=b", "Transfer-Encoding:\r\n chunked",
            "TRANSFER-ENCODING: chunk\u00e9d", "Transfer-Encoding: ", "Transfer-Encoding: ,chunked", "\x00: x",
        ]
    ],
    # Two lengths, and lengths that are none.
    post(["Content-Length: 0", "Content-Length: 60"], inner),
    post(["Content-Length: 60", "Content-Length: 0"], inner),
    *[
        post(["Content-Length: " + length], inner)
        for length in ["0, 60", "60, 60", "+0", "-0", "0x0", "0 0", "\x0b0", "00000000000000000000", "0.0", "1e1", "", "٠"]
    ],
    post(["Content_Length: 60", "Content-Length: 0"], inner),
    post(["Content-Length : 0"], inner),
    # Chunks that are not quite chunks.
    *[
        post(["Transfer-Encoding: chunked"], lambda n, c=chunks: c + inner(n))
        for chunks in [
            "0\r\n\r\n", "0;a\r\n\r\n", "0 \r\n\r\n", "0x0\r\n\r\n", "-0\r\n\r\n", "0\n\n", "0\r\n\n", "00000000000000000\r\n\r\n",
            "1\r\naX\r\n0\r\n\r\n", "1\r\na\r\n0\r\nX: y\r\n\r\n", "1\r\na\r\n0\r\nContent-Length: 60\r\n\r\n", "ffffffffffffffff1\r\n",
            "1\r\na\n0\r\n\r\n", "1;\nx\r\na\r\n0\r\n\r\n", "3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n", "\r\n0\r\n\r\n",
        ]
    ],
    # Bodies where none is usual.
    lambda n: f"GET /case-{n} HTTP/1.1{E}Host: localhost{E}Content-Length: {len(inner(n))}{E}{E}{inner(n)}",
    lambda n: f"GET /case-{n} HTTP/1.1{E}Host: localhost{E}Transfer-Encoding: chunked{E}{E}{counted(n)}",
    lambda n: f"HEAD /case-{n} HTTP/1.1{E}Host: localhost{E}Content-Length: {len(inner(n))}{E}{E}{inner(n)}",
    lambda n: f"DELETE /case-{n} HTTP/1.1{E}Host: localhost{E}Transfer-Encoding: chunked{E}{E}{counted(n)}",
    lambda n: f"POST /case-{n} HTTP/1.0{E}Host: localhost{E}Transfer-Encoding: chunked{E}{E}{hidden(n)}",
    lambda n: f"POST /case-{n} HTTP/1.1{E}Host: localhost{E}Connection: content-length{E}Content-Length: {len(inner(n))}{E}{E}{inner(n)}",
    lambda n: f"POST /case-{n} HTTP/1.1{E}Host: localhost{E}Connection: transfer-encoding{E}Transfer-Encoding: chunked{E}{E}{counted(n)}",
    lambda n: f"POST /case-{n} HTTP/1.1{E}Host: localhost{E}Expect: 100-continue{E}Content-Length: {len(inner(n))}{E}{E}{inner(n)}",
    # Lines that hide lines.
    lambda n: f"GET /case-{n} HTTP/1.1{E}Host: localhost{E}X: a\n\nGET /smuggled-{n} HTTP/1.1{E}Host: localhost{E}{E}",
    lambda n: f"GET /case-{n} HTTP/1.1\nHost: localhost\n\n" + inner(n),
    lambda n: f"GET /case-{n}\r\n\r\n" + inner(n),
    lambda n: f"GET /case-{n} HTTP/0.9{E}Host: localhost{E}{E}" + inner(n),
    lambda n: f"GET /case-{n} HTTP/1.1{E}Host: localhost{E}Host: other{E}{E}",
    lambda n: f"GET /case-{n} HTTP/1.1{E}{E}" + inner(n),
    lambda n: f"GET http://other/case-{n} HTTP/1.1{E}Host: localhost{E}{E}",
    lambda n: f"GET /case-{n}%0d%0a%0d%0aGET%20/smuggled-{n} HTTP/1.1{E}Host: localhost{E}{E}",
    lambda n: f"GET /case-{n}\tHTTP/1.1{E}Host: localhost{E}{E}" + inner(n),
    lambda n: f"GET /case-{n} /smuggled-{n} HTTP/1.1{E}Host: localhost{E}{E}",
    lambda n: f"CONNECT localhost:443 HTTP/1.1{E}Host: localhost{E}{E}" + inner(n),
    lambda n: f"GET /case-{n} HTTP/1.1{E}Host: localhost{E}Upgrade: h2c{E}Connection: upgrade, http2-settings{E}HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA{E}{E}",
    lambda n: f"PRI * HTTP/2.0{E}{E}SM{E}{E}" + inner(n),
]


def say(raw):
    """What comes back: the status of each answer. Whatever was sent may be refused at any moment."""
    context = ssl.create_default_context(cafile=CA)
    context.set_alpn_protocols(["http/1.1"])
    heard = b""
    with socket.create_connection((HOST, 443), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            try:
                sock.sendall(raw)
                sock.settimeout(PATIENCE)
                while len(heard) < 1 << 20:
                    more = sock.recv(65536)
                    if not more:
                        break
                    heard += more
            except OSError:
                pass
    return [part[:3].decode("latin-1") for part in heard.split(b"HTTP/1.1 ")[1:]]


with concurrent.futures.ThreadPoolExecutor(len(CASES)) as pool:
    heard = pool.map(lambda pair: say(pair[1](pair[0]).encode("utf-8")), enumerate(CASES))
    for number, statuses in enumerate(heard):
        print(number, *statuses, flush=True)
