"""Clients that leave, each in its way, while an upstream is silent; and some that stay and only say no more."""
import socket, struct, sys
from OpenSSL import SSL

HOST, WAY, METHOD, PATH = sys.argv[1:]
BODY = b"hello" if METHOD == "POST" else b""


def connected():
    plain = socket.create_connection((HOST, 443), timeout=20)
    plain.settimeout(None)
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    session = SSL.Connection(context, plain)
    session.set_tlsext_host_name(b"localhost")
    session.set_connect_state()
    session.do_handshake()
    return plain, session


plain, session = connected()
length = b"Content-Length: %d\r\n" % len(BODY) if BODY else b""
session.sendall(b"%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s" % (METHOD.encode(), PATH.encode(), length, BODY))
print("asked", flush=True)
sys.stdin.readline()
if WAY == "reset":
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
if WAY in ("goodbye", "half"):
    session.shutdown()
if WAY == "half":
    plain.shutdown(socket.SHUT_WR)
    heard = b""
    try:
        while more := session.recv(65536):
            heard += more
    except (SSL.ZeroReturnError, SSL.SysCallError):
        pass
    print(heard.decode(), flush=True)
plain.close()
