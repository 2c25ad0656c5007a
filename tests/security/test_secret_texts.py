"""The detector of credentials: what it finds, and what it does not. No text here has the whole form of a credential."""

import pytest

from .secret_texts import digest_of, known, secrets_in

RANDOM = b"q8Zr3mVx7LtB2nWc9KsD4fHj6GyP1aUe5Ro0"
BODY = b"MC4CAQAwBQYDK2VwBCIEIAqZ3uO1fQ7xk9WmYhVbT5nJcR2sLpE8dGtK4oXvUwHa"
KEY = b"-----BEGIN " + b"PRIVATE KEY-----"


def kinds(content):
    return [secret.kind for secret in secrets_in(content)]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (KEY + b"\n" + BODY, "private key"),
        (KEY + b"\\n" + BODY, "private key"),
        (b"-----BEGIN RSA " + b"PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\n" + BODY, "private key"),
        (b"AKIA" + b"Q3EGRN7ZLXKVWPTD", "AWS access key"),
        (b"github_pat_" + RANDOM, "GitHub token"),
        (b"glpat-" + RANDOM, "GitLab token"),
        (b"https://hooks." + b"slack.com/services/T0AB/B0CD/" + RANDOM, "Slack token"),
        (b"AIza" + RANDOM[:35], "Google API key"),
        (b"sk_live_" + RANDOM, "Stripe key"),
        (b"npm_" + RANDOM, "npm token"),
        (b"pypi-AgE" + RANDOM + RANDOM, "PyPI token"),
        (b"hf_" + b"qZrmVxLtBnWcKsDfHjGyPaUeRoqZrmVxLt", "Hugging Face token"),
        (b"SG." + RANDOM[:22] + b"." + (RANDOM + RANDOM)[:43], "SendGrid key"),
        (b'{"db-password": "' + RANDOM + b'"}', "value of a secret name"),
        (b"API_KEY = '" + RANDOM + b"'", "value of a secret name"),
        (b"apiKey: `" + RANDOM + b"`", "value of a secret name"),
        (b"redis://x:" + RANDOM + b"@host", "password in a URL"),
    ],
)
def test_a_credential_is_found(content, kind):
    assert kinds(b"text\n" + content + b"\ntext") == [kind]


@pytest.mark.parametrize(
    "content",
    [
        KEY + b"\n",
        b"-----BEGIN PUBLIC " + b"KEY-----\n" + BODY,
        b"AKIA" + b"Q3EGRN7ZL",
        b"mcpb_0123456789abcdefghijklmnopqrstuvwxyz",
        b'password = "the-value-of-a-name"',
        b'token_file = "/run/secrets/Token4ofServer"',
        b'token = f"{made}-Rw2kq8Zr3mVx"',
        b'password = "$Rw2kq8Zr3mVx"',
        b'secret = "github.GITHUB_TOKEN"',
        b"https://host:8443/path@x",
        b"https://user:{password}@host",
        b"git@github.com:owner/name",
        b"key = 5",
    ],
)
def test_other_text_is_not_found(content):
    assert kinds(content) == []


def test_a_finding_has_the_line_and_a_digest_instead_of_the_value():
    (secret,) = secrets_in(b"1\n2\n\nnpm_" + RANDOM + b"\n")
    assert secret.line == 4
    assert secret.digest == digest_of(b"npm_" + RANDOM)
    assert RANDOM.decode() not in repr(secret)


def test_known_texts_have_a_digest_and_are_no_comments():
    assert len(known()) >= 7
    assert all(len(digest) == 16 for digest in known())
