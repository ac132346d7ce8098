"""An upstream with manners and without, on bare sockets. Each line that it prints is something that it saw."""
import socket, ssl, sys, threading, time


def say(*words):
    print(*words, flush=True)


def head_of(sock):
    bytes_ = b""
    while b"\r\n\r\n" not in bytes_:
        more = sock.recv(65536)
        if not more:
            return None, b""
        bytes_ += more
    head, rest = bytes_.split(b"\r\n\r\n", 1)
    return head, rest


def answer(sock, path, head, rest):
    ok = b"HTTP/1.1 200 OK\r\n"
    if path == "/echo":
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        left = int(lengths[0].split(b":")[1]) if lengths else 0
        sock.sendall(ok + b"Content-Length: %d\r\n\r\n" % left + rest)
        left -= len(rest)
        while left > 0:
            more = sock.recv(1 << 18)
            if not more:
                return False
            sock.sendall(more)
            left -= len(more)
        return True
    if path == "/echo-all":
        while not rest.split(b"\r\n0\r\n")[-1].endswith(b"\r\n\r\n"):
            rest += sock.recv(65536)
        said = head + b"\r\n\r\n" + rest
        sock.sendall(ok + b"Content-Length: %d\r\n\r\n" % len(said) + said)
        return True
    if path == "/head":
        sock.sendall(ok + b"Content-Length: %d\r\n\r\n" % len(head) + head)
        return True
    if path == "/short":
        sock.sendall(ok + b"Content-Length: 1000\r\n\r\nonly this")
    elif path == "/long":
        sock.sendall(ok + b"Content-Length: 4\r\n\r\nfourHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
        time.sleep(0.5)
    elif path == "/cut":
        sock.sendall(ok + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    elif path == "/reset":
        sock.sendall(ok + b"Content-Length: 1000\r\n\r\nonly this")
        time.sleep(0.3)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    elif path == "/garbage":
        sock.sendall(b"\x16\x03\x01 what is this\r\n\r\n")
    elif path == "/heads":
        try:
            sock.sendall(ok)
            for number in range(1 << 30 >> 16):
                sock.sendall(b"X-%d: " % number + b"a" * 65536 + b"\r\n")
        except OSError:
            say("heads: gone")
    elif path == "/never":
        sock.settimeout(30)
        try:
            say("never: gone" if sock.recv(1) == b"" else "never: more")
        except OSError:
            say("never: gone")
    elif path == "/late":
        time.sleep(5)
        sock.sendall(ok + b"Content-Length: 4\r\n\r\nlate")
        return True
    elif path == "/slow":
        time.sleep(0.7)
        sock.sendall(ok + b"Content-Length: 5\r\n\r\n")
        for letter in b"slow!":
            time.sleep(0.2)
            sock.sendall(bytes([letter]))
        return True
    elif path == "/no":
        # As servers with manners do: it says no before it has read the body, and hears what still comes.
        sock.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(5)
        while sock.recv(65536):
            pass
    elif path == "/no-more":
        # As others do: what it has not read makes its kernel reset the connection.
        sock.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    elif path == "/endless":
        try:
            sock.sendall(ok + b"Transfer-Encoding: chunked\r\n\r\n")
            while True:
                sock.sendall(b"1000\r\n" + b"e" * 4096 + b"\r\n")
                time.sleep(0.01)
        except OSError:
            say("endless: gone")
    else:
        sock.sendall(ok + b"Content-Length: 2\r\n\r\nok")
        return True
    return False


def serve(sock):
    say("opened")
    try:
        spoken(sock)
    finally:
        say("over")


def spoken(sock):
    with sock:
        try:
            if ANNOUNCED:
                head = sock.recv(16, socket.MSG_WAITALL)
                rest = sock.recv(int.from_bytes(head[14:], "big"), socket.MSG_WAITALL)
                say("announced", head[:14].hex(), rest.hex())
            if TLS:
                sock = TLS.wrap_socket(sock, server_side=True)
            while True:
                head, rest = head_of(sock)
                if head is None:
                    return
                path = head.split(b" ", 2)[1].decode()
                say("asked", path)
                if not answer(sock, path, head, rest):
                    return
        except OSError:
            pass


TLS, ANNOUNCED = None, "announced" in sys.argv
if len(sys.argv) > 3:
    TLS = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    TLS.load_cert_chain(sys.argv[2], sys.argv[3])
server = socket.create_server(("0.0.0.0", int(sys.argv[1])))
say("listening")
while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
