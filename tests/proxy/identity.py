"""A client that shows a certificate, or none, and says of itself what only the appliance may say: HOST CA PAPER|none.
Prints what an upstream was told: over a new session, over the same one taken up again, and in trailers."""
import socket, ssl, sys

HOST, CA, PAPER = sys.argv[1:]
LIES = [
    "X-Client-Cert-Verified: lie", "x-client-cert-subject: lie", "X_Client_Cert_Subject: lie", "X-Client_Cert-Issuer: lie",
    "X-CLIENT-CERT-NAMES: lie", "x_client_cert_fingerprint: lie", "X-Client-Cert: lie", "X-Client-Cert-Anything: lie",
]
context = ssl.create_default_context(cafile=CA)
if PAPER != "none":
    context.load_cert_chain(PAPER + ".pem", PAPER + ".key")
E_ = "\r\n"


def ask(request, session=None):
    """What the upstream was told, with our word for whether the session was taken up."""
    plain = socket.create_connection((HOST, 443), timeout=20)
    with context.wrap_socket(plain, server_hostname="localhost", session=session) as sock:
        sock.sendall(request.encode())
        heard = b""
        try:
            while more := sock.recv(65536):
                heard += more
        except OSError as error:
            print("broke:", error)
        return heard.decode(), sock.session_reused, sock.session


def lines(told):
    return [line for line in told.split(E_) if line.lower().replace("_", "-").startswith("x-client-cert")]


get = f"GET /head HTTP/1.1{E_}Host: localhost{E_}Connection: close{E_}" + "".join(lie + E_ for lie in LIES) + E_
# One session is taken up; which version of TLS that is, both sides agree on.
for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
    context.minimum_version = context.maximum_version = version
    first, _, session = ask(get)
    again, reused, _ = ask(get, session)
    print(version.name + " told:", *lines(first), sep="\n")
    print(version.name, "again", reused, "same" if lines(first) == lines(again) else f"other: {lines(again)}")
chunked = f"POST /echo-all HTTP/1.1{E_}Host: localhost{E_}Connection: close{E_}TE: trailers{E_}Trailer: x-sum, {', '.join(lie.split(':')[0] for lie in LIES)}{E_}Transfer-Encoding: chunked{E_}{E_}"
told, _, _ = ask(chunked + f"2{E_}hi{E_}0{E_}" + "".join(lie + E_ for lie in LIES) + "X-Sum: 7" + E_ + E_)
print("trailers:", "x-sum: 7" in told.lower(), ": lie" in told)
