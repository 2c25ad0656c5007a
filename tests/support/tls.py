"""Certificates for listeners of tests, and the TLS contexts of their clients. The fixture `authority` issues them."""

import ssl


def write_certificate(authority, folder, *names):
    """Write a certificate for 127.0.0.1 and these names. Return the paths of the certificate and of its key."""
    issued = authority.issue_cert("127.0.0.1", *names)
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    key.touch(0o600)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


def tls_options(authority, folder):
    """Return the options of a bridge with a certificate of this authority."""
    certificate, key = write_certificate(authority, folder)
    return "--tls-cert", str(certificate), "--tls-key", str(key)


def tls_client_context(authority, *protocols):
    """Return the context of a client that trusts this authority and offers these protocols (ALPN, RFC 7301)."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if protocols:
        context.set_alpn_protocols(protocols)
    return context
