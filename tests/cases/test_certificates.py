"""Report certificates that clients refuse, and files that are no certificate or key (W6, W7)."""

import contextlib
import ipaddress
import os
import pty
import shutil
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose
from cryptography.x509.oid import NameOID

from mcpbridged.bridge.daemon.certificates import BadCertificate, CertificateFiles, load

from ..support.bridge_process import EXAMPLE, PROGRAM, Bridge
from ..support.daemon_process import daemon
from ..support.waiting import wait_until

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
LOOPBACK = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")),)
PASSPHRASE = b"open sesame"


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(key, subject, issuer, signer, begins=NOW - DAY, ends=NOW + 365 * DAY, names=LOOPBACK):
    built = x509.CertificateBuilder(
        name(issuer), name(subject), key.public_key(), x509.random_serial_number()
    )
    built = built.not_valid_before(begins).not_valid_after(ends)
    if names:
        built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
    else:
        built = built.add_extension(
            x509.BasicConstraints(ca=subject != "server", path_length=None), critical=True
        )
    return built.sign(signer, hashes.SHA256())


def pem(one):
    return one.public_bytes(Encoding.PEM)


def pem_key(key, encryption=None, form=PrivateFormat.PKCS8):
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption())


KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
ROOT_KEY, MIDDLE_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
ROOT = certificate(ROOT_KEY, "root", "root", ROOT_KEY, names=())
MIDDLE = certificate(MIDDLE_KEY, "middle", "root", ROOT_KEY, names=())
LEAF = certificate(KEY, "server", "middle", MIDDLE_KEY)


class Files:
    """A certificate file and a key file of one folder."""

    def __init__(self, folder):
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.write(pem(LEAF), pem_key(KEY))

    def write(self, cert=None, key=None):
        for path, data in ((self.cert, cert), (self.key, key)):
            if data is not None:
                path.write_bytes(data)
                path.chmod(0o600)

    @property
    def options(self):
        return "--tls-cert", str(self.cert), "--tls-key", str(self.key)

    @property
    def listen(self):
        return {"tls_cert": str(self.cert), "tls_key": str(self.key)}

    def filled(self, text):
        return text.format(cert=self.cert, key=self.key)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


# ---- W6


def leaf(**how):
    return certificate(KEY, "server", "middle", MIDDLE_KEY, **how)


def date(moment):
    return moment.strftime("%Y-%m-%d %H:%M UTC")


FAULTS = {
    "expired": (pem(leaf(begins=NOW - 9 * DAY, ends=NOW - 3 * DAY)), f"expired on {date(NOW - 3 * DAY)}"),
    "not yet valid": (pem(leaf(begins=NOW + 3 * DAY)), f"is not valid before {date(NOW + 3 * DAY)}"),
    "nameless": (pem(leaf(names=())), "names no host"),
    "names of other kinds": (pem(leaf(names=(x509.RFC822Name("me@example.org"),))), "names no host"),
    "an old authority": (
        pem(LEAF) + pem(certificate(MIDDLE_KEY, "middle", "root", ROOT_KEY, NOW - 9 * DAY, NOW - DAY, ())),
        f"certificate 2 of the chain in {{cert}} expired on {date(NOW - DAY)}",
    ),
    "wrong order": (
        pem(LEAF) + pem(ROOT) + pem(MIDDLE),
        "is in the wrong order: certificate 2 has not issued",
    ),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Yield a daemon with TLS that started with an expired certificate, and the files of its certificate."""
    folder = tmp_path_factory.mktemp("served")
    files = Files(folder)
    files.write(cert=FAULTS["expired"][0])
    with daemon(folder, {"example": {"command": EXAMPLE}}, listen=files.listen) as running:
        yield running, files


def test_w6_a_start_warns(served):
    running, _ = served
    words = FAULTS["expired"][1]
    assert [line for line in running.lines if "warning" in line and words in line]
    assert words in running.status()["warnings"][0]


@pytest.mark.parametrize("kind", FAULTS)
def test_w6_a_certificate_that_clients_refuse_is_a_warning_everywhere(served, kind):
    running, files = served
    data, words = FAULTS[kind]
    words = words.format(cert=files.cert)
    files.write(cert=data)
    seen = len(running.lines)
    assert words in running.do("reload").stderr
    wait_until(lambda: [line for line in running.lines[seen:] if "warning" in line and words in line])
    assert any(words in warning for warning in running.status()["warnings"])
    if kind == "expired":
        assert any(words in line for line in running.do("status").stdout.splitlines())
    checked = running.do("config", "check")
    assert "no errors" in checked.stdout
    assert words in checked.stderr
    if kind == "not yet valid":
        assert f"warning the certificate {files.cert} {words}" in running.do("doctor", check=False).stdout


def test_w6_a_better_certificate_is_used_from_the_next_reload_on_and_doctor_reports_it(served):
    running, files = served
    files.write(cert=FAULTS["expired"][0])
    running.reload()
    files.write(cert=pem(LEAF) + pem(MIDDLE) + pem(ROOT))
    assert "the daemon uses another certificate" in running.do("doctor", check=False).stdout
    assert running.do("reload").stderr == ""
    assert running.status()["warnings"] == []
    assert running.status()["certificate"] == LEAF.fingerprint(hashes.SHA256()).hex()
    found = running.do("doctor", check=False).stdout
    assert "the daemon uses another certificate" not in found
    assert f"the certificate {files.cert} is valid until {date(NOW + 365 * DAY)}, for 127.0.0.1" in found
    # An end within 14 days is reported by `doctor` only.
    end = NOW + 13 * DAY + timedelta(hours=1)
    files.write(cert=pem(leaf(ends=end)))
    assert running.do("reload").stderr == ""
    assert (
        f"warning the certificate {files.cert} expires on {date(end)}, in 13 days"
        in running.do("doctor", check=False).stdout
    )
    assert "warning" not in running.do("config", "check").stderr
    assert running.status()["warnings"] == []
    assert datetime.fromisoformat(running.status()["certificate_expires"]) == end


def test_w6_the_wrapper_warns_as_well(tmp_path, files):
    files.write(cert=FAULTS["expired"][0])
    with Bridge(tmp_path / "run", EXAMPLE, *files.options) as running:
        assert [line for line in running.lines if FAULTS["expired"][1] in line]


@pytest.mark.parametrize(("days", "mentioned"), [(13, True), (1, True), (15, False)])
def test_w6_doctor_looks_14_days_ahead(files, days, mentioned):
    end = NOW + days * DAY + timedelta(hours=1)
    files.write(cert=pem(leaf(ends=end)))
    loaded = load(CertificateFiles(files.cert, files.key))
    assert loaded.faults() == []
    plural = "s" * (days != 1)
    words = f"the certificate {files.cert} expires on {date(end)}, in {days} day{plural}"
    assert loaded.faults(timedelta(days=14)) == [words] * mentioned


ED_KEY, CURVE_KEY = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.BrainpoolP256R1())


def used(key, *purposes):
    """Return a certificate with these purposes."""
    built = x509.CertificateBuilder(name("middle"), name("server"), key.public_key(), 7)
    built = built.not_valid_before(NOW - DAY).not_valid_after(NOW + 365 * DAY)
    built = built.add_extension(x509.SubjectAlternativeName(LOOPBACK), critical=False)
    if purposes:
        built = built.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return pem(built.sign(MIDDLE_KEY, hashes.SHA256()))


@pytest.mark.parametrize(
    ("key", "purposes", "words"),
    [
        (KEY, [Purpose.CLIENT_AUTH], "is not for servers"),
        (KEY, [Purpose.EMAIL_PROTECTION, Purpose.CODE_SIGNING], "is not for servers"),
        (KEY, [Purpose.CLIENT_AUTH, Purpose.SERVER_AUTH], ""),
        (KEY, [Purpose.ANY_EXTENDED_KEY_USAGE], ""),
        (KEY, [], ""),
        (CURVE_KEY, [], "of a kind that TLS clients do not take"),
        (ED_KEY, [], ""),
        (ec.generate_private_key(ec.SECP384R1()), [], ""),
        (ec.generate_private_key(ec.SECP521R1()), [], ""),
        (rsa.generate_private_key(65537, 2048), [], ""),
    ],
)
def test_w6_purposes_and_keys_that_clients_refuse(files, key, purposes, words):
    files.write(used(key, *purposes), pem_key(key))
    found = load(CertificateFiles(files.cert, files.key)).faults()
    assert len(found) == bool(words)
    assert words in "".join(found)


# ---- W7

ENCRYPTED = "the key {key} is encrypted, which is not supported"
P12 = pkcs12.serialize_key_and_certificates(b"x", KEY, LEAF, None, NoEncryption())
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
REQUEST = pem(x509.CertificateSigningRequestBuilder(name("server")).sign(KEY, hashes.SHA256()))
RSA_KEY = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)

BAD = {
    "encrypted key": (None, pem_key(KEY, BestAvailableEncryption(PASSPHRASE)), ENCRYPTED),
    "encrypted key of the old form": (
        None,
        pem_key(KEY, BestAvailableEncryption(PASSPHRASE), PrivateFormat.TraditionalOpenSSL),
        ENCRYPTED,
    ),
    "empty certificate": (b"", None, "{cert} is empty"),
    "blank certificate": (b" \n\n", None, "{cert} is empty"),
    "empty key": (None, b"", "{key} is empty"),
    "swapped": (pem_key(KEY), pem(LEAF), "the two files are swapped: {cert} holds the private key"),
    "certificate for both": (pem(LEAF), pem(LEAF), "{key} holds a certificate, and no private key"),
    "key for both": (pem_key(KEY), pem_key(KEY), "{cert} holds a private key, and no certificate"),
    "DER certificate": (LEAF.public_bytes(Encoding.DER), None, "{cert} is in the binary form DER"),
    "DER key": (
        None,
        KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        "{key} is in the binary form DER (or PKCS #12), and PEM is needed; openssl pkey -inform DER -in {key}",
    ),
    "PKCS #12": (P12, None, "{cert} is in the binary form DER (or PKCS #12)"),
    "chain that begins with its authority": (
        pem(MIDDLE) + pem(LEAF),
        None,
        "the chain in {cert} is in the wrong order: it begins with a certificate that has issued another",
    ),
    "whole chain reversed": (pem(ROOT) + pem(MIDDLE) + pem(LEAF), None, "the chain in {cert} is in the wrong order"),
    "another key": (None, pem_key(OTHER), "the key {key} does not belong to the certificate {cert}"),
    "a key of another kind": (None, pem_key(RSA_KEY), "the key {key} does not belong to the certificate {cert}"),
    "request": (REQUEST, None, "{cert} holds a certificate request, which an authority must sign first"),
    "public key": (None, PUBLIC, "{key} holds a public key, and no private key"),
    "key of OpenSSH": (None, pem_key(KEY, form=PrivateFormat.OpenSSH), "{key} holds a key of OpenSSH"),
    "text": (b"nonsense", None, "{cert} holds no certificate in the form PEM"),
    "cut off": (pem(LEAF)[:200], None, "the PEM block in {cert} is damaged or cut off"),
    "damaged certificate": (pem(LEAF).replace(b"M", b"!", 1), None, "a certificate in {cert} is damaged"),
    "no certificate inside": (ssl.DER_cert_to_PEM_cert(b"noise").encode(), None, "a certificate in {cert} is damaged"),
    "damaged key": (
        None,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "the private key in {key} is damaged",
    ),
    "weak key": (
        pem(certificate(WEAK, "server", "root", ROOT_KEY)),
        pem_key(WEAK),
        "too weak: ee key too small",
    ),
    "UTF-16": (pem(LEAF).decode().encode("utf-16"), None, "{cert} is in UTF-16"),
    "UTF-16 key": (None, pem_key(KEY).decode().encode("utf-16-be"), "{key} is in UTF-16"),
    "indented": (pem(LEAF).replace(b"\n", b"\n  ").join([b"  ", b"\n"]), None, "the PEM block in {cert} is indented"),
    "on one line": (pem(LEAF).replace(b"\n", rb"\n"), None, r"in {cert} end with the two characters \n"),
    "blank lines": (pem(LEAF).replace(b"\n", b"\n\n"), None, "OpenSSL cannot read the certificate {cert}"),
    "lines of old Macs": (pem(LEAF).replace(b"\n", b"\r"), None, "OpenSSL cannot read the certificate {cert}"),
    "revocations": (ssl.DER_cert_to_PEM_cert(b"x").replace("CERTIFICATE", "X509 CRL").encode(), None, "{cert} holds a block 'X509 CRL'"),
    "large": (pem(LEAF) + b"\n" * 1024 * 1024, None, "{cert} has more than 1048576 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_w7_each_file_that_cannot_be_used_has_its_error(files, kind):
    cert, key, words = BAD[kind]
    files.write(cert, key)
    with pytest.raises(BadCertificate) as caught:
        load(CertificateFiles(files.cert, files.key))
    assert files.filled(words) in str(caught.value)
    assert "[SSL" not in str(caught.value)
    assert PASSPHRASE.decode() not in str(caught.value)


@pytest.mark.parametrize("which", ["cert", "key"])
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_w7_a_path_that_is_no_regular_file_has_its_error_and_does_not_block(files, which, make, words):
    path = getattr(files, which)
    path.unlink()
    make(path)
    with pytest.raises(BadCertificate) as caught:
        load(CertificateFiles(files.cert, files.key))
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


GOOD = {
    "a chain": (pem(LEAF) + pem(MIDDLE), None),
    "both in one file": (pem(LEAF) + pem_key(KEY), pem_key(KEY) + pem(LEAF)),
    "Windows": (pem(LEAF).replace(b"\n", b"\r\n"), pem_key(KEY).replace(b"\n", b"\r\n")),
    "text before": (b"Subject: CN=server\n\n" + pem(LEAF), b"# mine\n" + pem_key(KEY)),
    "old form": (None, pem_key(KEY, form=PrivateFormat.TraditionalOpenSSL)),
    "parameters before": (
        None,
        b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
        + pem_key(KEY, form=PrivateFormat.TraditionalOpenSSL),
    ),
    "old label": (pem(LEAF).replace(b"CERTIFICATE", b"X509 CERTIFICATE"), None),
    "byte order mark": (b"\xef\xbb\xbf" + pem(LEAF), b"\xef\xbb\xbf" + pem_key(KEY)),
    "twice": (pem(LEAF) + pem(LEAF) + pem(MIDDLE) + pem(MIDDLE), None),
    "the root as well": (pem(LEAF) + pem(MIDDLE) + pem(ROOT), None),
}


@pytest.mark.parametrize("kind", GOOD)
def test_w7_each_file_that_openssl_can_use_is_used(files, kind):
    files.write(*GOOD[kind])
    loaded = load(CertificateFiles(files.cert, files.key))
    assert loaded.faults() == []
    assert loaded.until == LEAF.not_valid_after_utc


def test_w7_a_start_ends_with_78_and_never_prompts_on_the_terminal(tmp_path, files):
    files.write(key=pem_key(KEY, BestAvailableEncryption(PASSPHRASE)))
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    words = [PROGRAM, "--allow-root", "--port", "0", *files.options, "--stdio", "cat"]
    with subprocess.Popen(
        ["setsid", "-c", *words], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        output = b""
        # The end of a terminal is an error.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 65536):
                output += piece
        assert process.wait(20) == 78
    os.close(ours)
    assert files.filled(ENCRYPTED) in output.decode()
    assert b"pass phrase" not in output


def shown(running):
    with socket.create_connection(running.address, timeout=5) as sock:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(sock) as secured:
            return secured.getpeercert(binary_form=True)


def test_w7_a_reload_keeps_the_certificate_that_is_served(served):
    running, files = served
    files.write(pem(LEAF), pem_key(KEY))
    running.reload()
    first = LEAF.public_bytes(Encoding.DER)
    assert shown(running) == first
    for kind in ("encrypted key", "another key", "swapped", "empty certificate"):
        cert, key, words = BAD[kind]
        files.write(pem(LEAF) if cert is None else cert, pem_key(KEY) if key is None else key)
        for action in (("reload",), ("config", "check")):
            refused = running.do(*action, check=False)
            assert refused.returncode == 78
            assert files.filled(words) in refused.stderr
        assert shown(running) == first
    assert files.filled(words) in running.do("doctor", check=False).stdout
    second = certificate(OTHER, "server", "middle", MIDDLE_KEY)
    files.write(pem(second), pem_key(OTHER))
    running.reload()
    assert shown(running) == second.public_bytes(Encoding.DER)


def test_w7_a_certificate_that_only_openssl_can_read_is_served_with_a_warning(files, monkeypatch):
    def unreadable(_):
        raise ValueError

    monkeypatch.setattr("mcpbridged.bridge.daemon.certificates.read_certificate", unreadable)
    loaded = load(CertificateFiles(files.cert, files.key))
    assert loaded.faults() == [f"the dates and names in the certificate {files.cert} cannot be read"]
    assert (loaded.until, loaded.expires) == (None, "")
    assert "an unknown time" in loaded.summary


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_w6_the_dates_are_those_of_openssl(files):
    command = ["openssl", "x509", "-in", str(files.cert), "-noout", "-enddate", "-dateopt", "iso_8601"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ends = load(CertificateFiles(files.cert, files.key)).until
    assert done.stdout.strip() == f"notAfter={ends:%Y-%m-%d %H:%M:%SZ}"
