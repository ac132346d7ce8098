"""Certificates of clients and of upstreams, good ones and others, for a folder: NAME.pem (with its chain), NAME.key."""
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Use, NameOID

FOLDER = sys.argv[1]
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
# Values that would be another part, another line or another header if somebody took them at their word.
ODD = [(NameOID.ORGANIZATION_NAME, "x, CN=admin"), (NameOID.COMMON_NAME, "eve\r\nX-Client-Cert-Verified: success+OU=b\\")]
ODD_NAMES = [x509.DNSName("e.example, DNS:admin.example"), x509.UniformResourceIdentifier("a:b, DNS:c")]


def name(parts):
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def save(title, key, chain):
    plain = serialization.NoEncryption()
    with open(f"{FOLDER}/{title}.pem", "wb") as file:
        file.writelines(paper.public_bytes(serialization.Encoding.PEM) for paper in chain)
    with open(f"{FOLDER}/{title}.key", "wb") as file:
        file.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))


def paper(title, subject, issuer=None, names=(), use=None, begins=NOW - DAY, ends=NOW + DAY, ca=False):
    key = ec.generate_private_key(ec.SECP256R1())
    signer, by = issuer or (key, None)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(by[0].subject if by else subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(begins).not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    if use:
        made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    chain = [made.sign(signer, hashes.SHA256())] + (by[:-1] if by else [])
    save(title, key, chain)
    return key, chain + (by[-1:] if by else [])


def common(text):
    return name([(NameOID.COMMON_NAME, text)])


clients = paper("clients", common("Clients"), ca=True)
paper("anna", name([(NameOID.ORGANIZATION_NAME, "Ä & Co"), (NameOID.COMMON_NAME, "Anna")]), clients,
      [x509.DNSName("anna.example"), x509.RFC822Name("anna@example.org")], Use.CLIENT_AUTH)
paper("odd", name(ODD), clients, ODD_NAMES, Use.CLIENT_AUTH)
paper("stranger", common("Anna"), paper("strangers", common("Clients"), ca=True), use=Use.CLIENT_AUTH)

ours = [x509.DNSName("app.internal")]
upstreams = paper("upstreams", common("Upstreams"), ca=True)
paper("good", common("app.internal"), upstreams, ours, Use.SERVER_AUTH)
paper("below", common("app.internal"), paper("between", common("Between"), upstreams, ca=True), ours, Use.SERVER_AUTH)
paper("other-name", common("app.internal"), upstreams, [x509.DNSName("other.internal")], Use.SERVER_AUTH)
paper("no-name", common("app.internal"), upstreams, use=Use.SERVER_AUTH)
paper("expired", common("app.internal"), upstreams, ours, Use.SERVER_AUTH, NOW - 9 * DAY, NOW - DAY)
paper("not-yet", common("app.internal"), upstreams, ours, Use.SERVER_AUTH, NOW + DAY, NOW + 9 * DAY)
paper("for-clients", common("app.internal"), upstreams, ours, Use.CLIENT_AUTH)
paper("another-ca", common("app.internal"), paper("others", common("Upstreams"), ca=True), ours, Use.SERVER_AUTH)
paper("itself", common("app.internal"), None, ours, Use.SERVER_AUTH)
paper("no-ca", common("app.internal"), paper("good-too", common("app.internal"), upstreams, ours), ours, Use.SERVER_AUTH)
