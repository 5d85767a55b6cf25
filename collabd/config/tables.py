"""Every setting of collabd: one frozen struct per TOML table; type, range, default and meaning stand together.

Law of this file: it says what can be set and nothing else. Reading is reading.py, rules between settings are
checks.py. An attribute is called as its TOML key; sizes are bytes, `_s` is seconds, `_ms` is milliseconds.
collabd.toml and docs/configuration.md are compared with this file by tests/config.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, field

# Upper ends exist so that a slip of the hand is an error and no number overflows in C code; nobody needs more.
MOST = 1_000_000_000
MOST_BYTES = 1 << 40
YEAR_S = 366 * 86_400

Bound = Annotated[int, Meta(ge=0, le=MOST)]
Count = Annotated[int, Meta(ge=1, le=MOST)]
ByteSize = Annotated[int, Meta(ge=0, le=MOST_BYTES)]
Seconds = Annotated[float, Meta(gt=0, le=YEAR_S)]
SecondsOrZero = Annotated[float, Meta(ge=0, le=YEAR_S)]
File = Path | None
Texts = tuple[str, ...]


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """The user's own place for state: what systemd assigned, else XDG_STATE_HOME, else ~/.local/state."""
    if assigned := environ.get("STATE_DIRECTORY"):
        return Path(assigned.split(":")[0])
    home = environ.get("HOME") or os.path.expanduser("~")
    state = environ.get("XDG_STATE_HOME", "")
    # The XDG base directory specification: a relative path here is to be ignored.
    base = Path(state) if os.path.isabs(state) else Path(home) / ".local" / "state"
    return base / "collabd"


UNIX_PREFIX = "unix:"
LONGEST_SOCKET_PATH = 107
"""Bytes of a Unix socket's path that Linux takes (unix(7))."""


def handed_secrets(environ: Mapping[str, str], given: Mapping[str, object]) -> dict[str, Path]:
    """Files for the secrets that `given` (values by setting name) names no file for, from the service manager.

    systemd puts each credential (LoadCredential= of systemd.exec(5)) under its name into $CREDENTIALS_DIRECTORY.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return {}
    wanted = {"admin.token_file": "collabd.admin-token"}
    if given.get("auth.mode") == "jwt" and not (given.get("auth.key_env") or given.get("auth.jwks_file")):
        wanted["auth.key_file"] = "collabd.token-key"
    tls = {"server.tls_certificate": "collabd.tls-certificate", "server.tls_private_key": "collabd.tls-private-key"}
    if not any(given.get(name) for name in tls):
        wanted |= tls
    files = {name: Path(directory) / file for name, file in wanted.items() if not given.get(name)}
    return {name: file for name, file in files.items() if os.path.exists(file)}


def parse_address(text: str) -> tuple[str, int]:
    """Split `HOST:PORT` or `[IPV6]:PORT` into host and port (0: the system picks one). Raises ValueError.

    A Unix socket, `unix:/PATH`, has neither: ("", 0).
    """
    if text.startswith(UNIX_PREFIX):
        path = text.removeprefix(UNIX_PREFIX)
        if not os.path.isabs(path) or len(os.fsencode(path)) > LONGEST_SOCKET_PATH or "\0" in path:
            raise ValueError(f"a Unix socket is unix:/PATH, absolute and of {LONGEST_SOCKET_PATH} bytes at most")
        return "", 0
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets, like [::1]:8080")
    if not colon or not host:
        raise ValueError("must be HOST:PORT, like 127.0.0.1:8080")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        raise ValueError(f"the port must be a whole number from 0 to 65535, not {port!r}")
    return host, int(port)


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where the daemon listens, and how it starts and stops."""

    bind: Annotated[
        str, Meta(description="Address and port to listen on (port 0 picks a free one), or unix:/PATH of a socket.")
    ] = "127.0.0.1:8080"
    tls_certificate: Annotated[
        File, Meta(description="PEM file with the certificate and its chain; empty: no TLS in the daemon.")
    ] = None
    tls_private_key: Annotated[
        File, Meta(description="PEM file with the key of the certificate, without a pass phrase, not readable by all.")
    ] = None
    public_url: Annotated[
        str, Meta(description="The URL under which browsers reach the daemon, when a proxy stands before it.")
    ] = ""
    allowed_origins: Annotated[
        Texts, Meta(description="Origins whose pages may connect, besides the daemon's own, like https://app.example.")
    ] = ()
    allowed_hosts: Annotated[
        Texts, Meta(description="Further names by which clients may call the daemon (Host), without port; * is any.")
    ] = ()
    trusted_proxies: Annotated[
        Texts, Meta(description="Addresses or networks of proxies whose X-Forwarded headers are believed; unix: too.")
    ] = ()
    handshake_timeout_s: Annotated[
        Seconds, Meta(description="Time a new connection has for TLS and the head of its request.")
    ] = 10
    write_timeout_s: Annotated[
        Seconds, Meta(description="Time a peer may stand still while an HTTP answer is written to it.")
    ] = 20
    drain_timeout_s: Annotated[SecondsOrZero, Meta(description="Longest time a stop takes, whatever the peers do.")] = (
        10
    )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of `bind`; ("", 0) for a Unix socket."""
        return parse_address(self.bind)

    @property
    def socket_path(self) -> Path | None:
        """Where the Unix socket of `bind` is, if it is one."""
        return Path(self.bind.removeprefix(UNIX_PREFIX)) if self.bind.startswith(UNIX_PREFIX) else None

    @property
    def path_prefix(self) -> str:
        """The path of `public_url`, below which a proxy serves the daemon: "" or like /collab."""
        return urlsplit(self.public_url).path


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """The log on disk and its newest part in memory."""

    data_dir: Annotated[
        Path,
        Meta(
            description="Directory of the database; empty: $STATE_DIRECTORY, else $XDG_STATE_HOME/collabd, "
            "else ~/.local/state/collabd."
        ),
    ] = field(default_factory=lambda: default_data_dir(os.environ))
    synchronous: Annotated[
        Literal["full", "normal"],
        Meta(description="full: an acknowledged event survives a power cut; normal: only a crash of the process."),
    ] = "full"
    max_persisted_messages_per_run: Annotated[
        Count, Meta(description="Newest persisted events kept per run; older ones are trimmed.")
    ] = 1_000
    dedupe_window_s: Annotated[
        SecondsOrZero,
        Meta(description="How long a clientMessageId is known at least; below 86400 the protocol's promise shrinks."),
    ] = 86_400
    ring_bytes_per_run: Annotated[
        ByteSize, Meta(description="Newest events of a run kept in memory for resuming; 0: read from disk each time.")
    ] = 4_194_304
    ring_bytes_total: Annotated[ByteSize, Meta(description="The same for all runs together.")] = 268_435_456


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """Which event types are kept, and which of them every late joiner gets."""

    critical_event_types: Annotated[Texts, Meta(description="Types that are persisted and replayed on joining.")] = (
        "GRAFT",
        "PRUNE",
        "FLAG",
    )
    persisted_event_types: Annotated[
        Texts, Meta(description="Further types that are persisted; all others are transient.")
    ] = ()
    state_keys: Annotated[
        Mapping[str, str],
        Meta(description="Per persisted type the data field by whose value the newest event outlives trimming."),
    ] = field(default_factory=lambda: {"GRAFT": "after", "PRUNE": "stepId", "FLAG": "stepId"})


class Runs(msgspec.Struct, frozen=True, kw_only=True):
    """The rooms."""

    auto_create: Annotated[bool, Meta(description="Joining an unknown run makes it; false: it is a 404.")] = True
    idle_close_s: Annotated[
        SecondsOrZero, Meta(description="Time after which a run without sessions leaves memory; nothing is lost.")
    ] = 60


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    """Who counts as being there."""

    grace_s: Annotated[
        SecondsOrZero,
        Meta(description="Time a user stays present after a connection was lost, so a reload is no leave."),
    ] = 15


class WebSocket(msgspec.Struct, frozen=True, kw_only=True):
    """The live connections."""

    heartbeat_interval_s: Annotated[
        Seconds, Meta(description="Time between pings; a connection silent for twice that is closed.")
    ] = 10
    max_message_bytes: Annotated[
        int, Meta(ge=1_024, le=16_777_216, description="Largest message a client may send.")
    ] = 65_536
    outbox_max_bytes: Annotated[
        ByteSize, Meta(description="What may wait for a slow client; past it the client is closed and resumes.")
    ] = 1_048_576


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """What clients are told to do, by /api/client-config."""

    max_reconnect_attempts: Annotated[
        Bound, Meta(description="Failed attempts before a client falls back to polling.")
    ] = 5
    polling_interval_ms: Annotated[
        int, Meta(ge=100, le=600_000, description="Time between two polls, when the server is not loaded.")
    ] = 2_000
    message_retry_limit: Annotated[Count, Meta(description="Attempts per message before a client gives it up.")] = 3


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one peer may take; 0 switches a limit off, except for the request head."""

    messages_per_second: Annotated[Bound, Meta(description="Messages a session may send per second; 0: no limit.")] = 50
    message_burst: Annotated[Bound, Meta(description="Messages it may send at once before that counts.")] = 200
    bytes_per_second: Annotated[
        ByteSize, Meta(description="Bytes of messages a session may send per second; 0: no limit.")
    ] = 1_048_576
    byte_burst: Annotated[ByteSize, Meta(description="Bytes it may send at once before that counts.")] = 4_194_304
    messages_per_second_per_address: Annotated[
        Bound, Meta(description="Messages per second from one peer address, loopback exempt; 0: no limit.")
    ] = 1_000
    message_burst_per_address: Annotated[
        Bound, Meta(description="Messages it may send at once before that counts.")
    ] = 4_000
    requests_per_second_per_address: Annotated[
        Bound,
        Meta(description="HTTP requests and upgrades per second from one peer address, loopback exempt; 0: no limit."),
    ] = 200
    request_burst_per_address: Annotated[
        Bound, Meta(description="Requests it may make at once before that counts.")
    ] = 1_000
    connections: Annotated[Bound, Meta(description="Connections in all; 0: no limit.")] = 10_000
    connections_per_address: Annotated[
        Bound, Meta(description="Connections per peer address, loopback exempt; 0: no limit.")
    ] = 256
    sockets_per_address: Annotated[
        Bound,
        Meta(description="TCP connections of any kind per peer address, loopback and proxies exempt; 0: no limit."),
    ] = 1_024
    connections_per_run: Annotated[Bound, Meta(description="Connections per run; 0: no limit.")] = 2_000
    connections_per_user: Annotated[Bound, Meta(description="Connections per user in a run; 0: no limit.")] = 64
    request_head_max_bytes: Annotated[
        int, Meta(ge=1_024, le=1_048_576, description="Largest request line and header lines together.")
    ] = 16_384


class Auth(msgspec.Struct, frozen=True, kw_only=True):
    """Who may come in."""

    mode: Annotated[
        Literal["open", "jwt"], Meta(description="open: clients name themselves; jwt: a signed token names them.")
    ] = "open"
    allow_open: Annotated[
        bool, Meta(description="Says knowingly that open mode may be reached from beyond this machine.")
    ] = False
    algorithm: Annotated[
        Literal["HS256", "RS256", "ES256", "EdDSA"], Meta(description="The one signature algorithm that is accepted.")
    ] = "HS256"
    key_file: Annotated[
        File, Meta(description="File with the secret (HS256, not readable by all) or the PEM public key.")
    ] = None
    key_env: Annotated[
        str, Meta(description="Name of an environment variable that holds the key, instead of key_file.")
    ] = ""
    jwks_file: Annotated[File, Meta(description="JWKS file with the keys, instead of key_file.")] = None
    audience: Annotated[str, Meta(description="What a token's aud must name; empty: a token must not have one.")] = ""
    issuer: Annotated[str, Meta(description="What a token's iss must be; empty: any.")] = ""
    leeway_s: Annotated[
        SecondsOrZero, Meta(description="How far the issuer's clock may be ahead of this machine's (iat, nbf).")
    ] = 5


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """Who may look behind the scenes."""

    token_file: Annotated[
        File,
        Meta(description="File with the admin token; empty: `serve` writes admin.token into the data directory."),
    ] = None


class Logging(msgspec.Struct, frozen=True, kw_only=True):
    """What is written to standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important lines that are written.")
    ] = "info"
    format: Annotated[Literal["text", "json"], Meta(description="text for people, json for log collectors.")] = "text"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration; `Config()` is the default one."""

    server: Server = field(default_factory=Server)
    storage: Storage = field(default_factory=Storage)
    events: Events = field(default_factory=Events)
    runs: Runs = field(default_factory=Runs)
    presence: Presence = field(default_factory=Presence)
    websocket: WebSocket = field(default_factory=WebSocket)
    client: Client = field(default_factory=Client)
    limits: Limits = field(default_factory=Limits)
    auth: Auth = field(default_factory=Auth)
    admin: Admin = field(default_factory=Admin)
    logging: Logging = field(default_factory=Logging)
