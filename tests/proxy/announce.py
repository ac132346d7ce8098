"""A balancer in front of the appliance: says that 203.0.113.9 calls, then asks over TLS, and prints what it hears."""
import socket, ssl, sys

host, ca, version = sys.argv[1:]
ends = socket.inet_aton("203.0.113.9") + socket.inet_aton("192.0.2.7") + b"\x0f\xa0\x01\xbb"
headers = {
    "1": b"PROXY TCP4 203.0.113.9 192.0.2.7 4000 443\r\n",
    "2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + (len(ends) + 4).to_bytes(2, "big") + ends + b"\x04\0\x01x",
    "none": b"",
}
try:
    with socket.create_connection((host, 443), timeout=20) as plain:
        plain.sendall(headers[version])
        context = ssl.create_default_context(cafile=ca)
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(b"GET /head HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while more := sock.recv(65536):
                print(more.decode(), end="")
except OSError as error:
    print("nothing:", error)
