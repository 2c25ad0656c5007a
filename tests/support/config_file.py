"""A configuration file with every kind of key, and the environment of its reader."""

from pathlib import Path

HERE = {"PATH": "/bin", "HOME": "/home/me", "SECRET": "s3cret", "XDG_RUNTIME_DIR": "/run/me"}
DIGEST = "ab" * 32
WHOLE = f"""
config_version = 1
[listen]
http = "[::1]:9000"
unix = "/run/x.sock"
hosts = ["a.example:9000"]
origins = ["http://localhost:6274"]
health = ["/alive"]
tls_cert = "cert.pem"
tls_key = "/etc/key.pem"
[log]
level = "debug"
format = "json"
calls = true
[limits]
body = 1000
head_seconds = 0.5
[servers.git]
command = ["uvx", "mcp-server-git"]
share = "server"
era = "legacy"
spare = 1
tools.allow = ["git_*"]
tools.deny = ["git_push"]
features.deny = ["prompts", "sampling"]
cwd = "/srv"
umask = "0027"
env = {{ MODE = "quiet" }}
pass_env = ["SECRET"]
limits = {{ line = 5000 }}
[servers.off]
command = ["x"]
enabled = false
[tokens.cursor]
sha256 = "{DIGEST}"
servers = ["git"]
tools = {{ allow = ["git_log"], deny = ["x"] }}
features.deny = ["roots"]
"""


def write_config_file(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "config.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path
