"""Upstreams that speak TLS, one for each certificate: FOLDER PORT NAME...; NAME is at PORT, the next at PORT + 1."""
import socket, ssl, sys, threading


def serve(server, context, name):
    while True:
        sock, _ = server.accept()
        try:
            sock.settimeout(20)
            with context.wrap_socket(sock, server_side=True) as sock:
                if sock.recv(65536):
                    print("asked", name, flush=True)
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        except OSError as error:
            print("refused", name, error, flush=True)


folder, port, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
for at, name in enumerate(names):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/{name}.pem", f"{folder}/{name}.key")
    server = socket.create_server(("0.0.0.0", port + at))
    threading.Thread(target=serve, args=(server, context, name), daemon=True).start()
print("listening", flush=True)
threading.Event().wait()
