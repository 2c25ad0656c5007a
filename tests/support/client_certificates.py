"""An authority that issues certificates with chosen names, and contexts of clients that show them."""

import datetime as dt
import ipaddress
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KINDS = {
    "URI": x509.UniformResourceIdentifier,
    "DNS": x509.DNSName,
    "email": x509.RFC822Name,
    "IP": lambda text: x509.IPAddress(ipaddress.ip_address(text)),
}


def named(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """One self-signed authority."""

    def __init__(self, name="authority"):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = named(name)
        self.certificate = self._signed(self.name, self.key.public_key(), (), ca=True)
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def _signed(self, subject, key, names, *, ca=False, seconds=86400, usage=None):
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=2))
            .not_valid_after(now + dt.timedelta(seconds=seconds))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, folder, *names, common_name="somebody", seconds=86400, server=False):
        """Write a certificate with these names (KIND:NAME), and its key. Return their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = [KINDS[name.partition(":")[0]](name.partition(":")[2]) for name in names]
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        made = self._signed(named(common_name), key.public_key(), alternatives, seconds=seconds, usage=usage)
        folder.mkdir(parents=True, exist_ok=True)
        number = made.serial_number
        certificate, private = folder / f"{number}.pem", folder / f"{number}.key"
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private.touch(0o600)
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, private

    def context(self, pair=None, protocols=()):
        """Return the context of a client that trusts this authority and shows a certificate, if it has one."""
        context = ssl.create_default_context(cadata=self.pem)
        if pair is not None:
            context.load_cert_chain(*pair)
        if protocols:
            context.set_alpn_protocols(protocols)
        return context
