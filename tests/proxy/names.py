"""A name server for three names, over UDP and TCP. It forges an answer of somebody else's before each of its own."""
import socket, struct, threading


def answer(question, over):
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode())
        at += 1 + question[at]
    name, kind = ".".join(labels).lower(), struct.unpack(">H", question[at + 1:at + 3])[0]
    print(over, name, kind, flush=True)
    asked = question[12:at + 5]
    soa = b"\xc0\x0c\0\6\0\1" + struct.pack(">IH", 60, 22) + b"\0\0" + struct.pack(">IIIII", 1, 1, 1, 1, 60)
    record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("192.0.2.1")
    if name == "cut.example" and over == "udp":
        return question[:2] + struct.pack(">HHHHH", 0x8380, 1, 0, 0, 0) + asked
    if kind == 1 and name in ("app.example", "cut.example"):
        return question[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + asked + record
    return question[:2] + struct.pack(">HHHHH", 0x8180 + (name == "none.example") * 3, 1, 0, 1, 0) + asked + soa


def forged(true):
    return bytes([true[0] ^ 1]) + true[1:-4] + socket.inet_aton("203.0.113.66")


def tcp(server):
    while True:
        sock, _ = server.accept()
        with sock:
            length = struct.unpack(">H", sock.recv(2, socket.MSG_WAITALL))[0]
            told = answer(sock.recv(length, socket.MSG_WAITALL), "tcp")
            sock.sendall(struct.pack(">H", len(told)) + told)


udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 53))
threading.Thread(target=tcp, args=(socket.create_server(("0.0.0.0", 53)),), daemon=True).start()
print("listening", flush=True)
while True:
    question, peer = udp.recvfrom(4096)
    told = answer(question, "udp")
    udp.sendto(forged(told), peer)
    udp.sendto(told, peer)
