"""What must hold for a value, or between values, beyond type and range.

Law of this file: one function per rule; it yields a sentence for each violation and never raises. The first of a
rule's names that somebody set is the one that gets the blame.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from collabd.config.tables import UNIX_PREFIX, Config, parse_address

# docs/protocol.md, "The event envelope": names of the server's own, refused from clients and in these lists.
RESERVED_EVENT_TYPES = frozenset(
    ["WELCOME", "ACK", "ERROR", "PING", "PONG", "AUTH", "AUTH_OK", "CLIENT_HEALTH", "USER_JOIN", "USER_LEAVE", "DRAIN"]
)
EVENT_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,49}")
HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/?#@]+")

# What the envelope adds to a message of the largest size: a user id of 255 code points, an event type, a
# clientMessageId, two numbers, the frame header. 4 KiB is more than all of them escaped.
ENVELOPE_BYTES = 4_096

Find = Callable[[Config], Iterator[str]]


class Check(NamedTuple):
    """One rule: the settings it is about, and the function that finds violations."""

    names: tuple[str, ...]
    find: Find


CHECKS: list[Check] = []


def _rule(*names: str) -> Callable[[Find], Find]:
    def register(find: Find) -> Find:
        CHECKS.append(Check(names, find))
        return find

    return register


@_rule("server.bind")
def bind_is_an_address(config: Config) -> Iterator[str]:
    """HOST:PORT with a port that exists."""
    try:
        _ = config.server.address
    except ValueError as error:
        yield f"{error} (found {config.server.bind!r})"


@_rule("server.public_url")
def public_url_is_a_base_url(config: Config) -> Iterator[str]:
    """Paths are appended to it, so nothing may follow its path."""
    url = config.server.public_url
    if not url:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable or not url.isascii() or re.search(r"[\s?#]", url) or url.endswith("/"):
        yield "must be an http or https URL without user, query, fragment or a slash at the end"


@_rule("server.allowed_origins")
def origins_can_match(config: Config) -> Iterator[str]:
    """Origins are compared whole and as text (RFC 6454): a slash or an upper-case letter too many never matches."""
    for origin in config.server.allowed_origins:
        if not ORIGIN.fullmatch(origin) or origin != origin.lower():
            yield f"{origin!r} is no origin; write it as browsers send it, like https://app.example (no path, no *)"


@_rule("server.allowed_hosts")
def hosts_can_match(config: Config) -> Iterator[str]:
    """Names are compared whole, in lower case and without the port."""
    for host in config.server.allowed_hosts:
        if host != "*" and not HOST.fullmatch(host):
            yield f"{host!r} is no host name; write it in lower case and without a port, like collab.example (or *)"


@_rule("server.trusted_proxies")
def proxies_are_networks(config: Config) -> Iterator[str]:
    """Addresses or CIDR networks, or `unix:` for whoever comes through the Unix socket."""
    for proxy in config.server.trusted_proxies:
        if proxy == UNIX_PREFIX:
            continue
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            yield f"no address or network: {error}"


@_rule("server.tls_certificate")
def certificate_is_readable(config: Config) -> Iterator[str]:
    """Checked at start, not at the first connection."""
    yield from _file_problems(config.server.tls_certificate)


@_rule("server.tls_private_key")
def private_key_is_readable(config: Config) -> Iterator[str]:
    """And by nobody who has no business with it."""
    yield from _file_problems(config.server.tls_private_key, secret=True)


@_rule("server.tls_certificate", "server.tls_private_key")
def tls_files_come_in_pairs(config: Config) -> Iterator[str]:
    """Half of the pair is a daemon that would serve without TLS."""
    if (config.server.tls_certificate is None) != (config.server.tls_private_key is None):
        yield "tls_certificate and tls_private_key go together: set both or neither"


@_rule("server.tls_private_key", "server.tls_certificate")
def tls_files_fit(config: Config) -> Iterator[str]:
    """The key is the certificate's, and needs no pass phrase."""
    certificate, key = config.server.tls_certificate, config.server.tls_private_key
    if certificate is None or key is None or [*_file_problems(certificate), *_file_problems(key)]:
        return
    try:
        # The empty pass phrase keeps OpenSSL from asking for one at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        yield f"does not work with tls_certificate: {reason} (both in PEM, the key without a pass phrase?)"


@_rule("events.critical_event_types")
def critical_types_are_event_types(config: Config) -> Iterator[str]:
    """Names that a client can send."""
    yield from _event_type_problems(config.events.critical_event_types)


@_rule("events.persisted_event_types")
def persisted_types_are_event_types(config: Config) -> Iterator[str]:
    """Names that a client can send."""
    yield from _event_type_problems(config.events.persisted_event_types)


@_rule("events.state_keys")
def state_keys_name_fields(config: Config) -> Iterator[str]:
    """A key for a type that is not persisted is allowed: it does nothing until the type is."""
    yield from _event_type_problems(tuple(config.events.state_keys))
    for event_type, field in config.events.state_keys.items():
        if not field:
            yield f"{event_type} has an empty name for its data field"


@_rule("websocket.outbox_max_bytes", "websocket.max_message_bytes")
def outbox_holds_a_message(config: Config) -> Iterator[str]:
    """Otherwise one allowed message would close every client as too slow."""
    least = config.websocket.max_message_bytes + ENVELOPE_BYTES
    if config.websocket.outbox_max_bytes < least:
        yield (
            f"outbox_max_bytes must be at least {least} (max_message_bytes and {ENVELOPE_BYTES} for the envelope), "
            f"not {config.websocket.outbox_max_bytes}"
        )


@_rule("storage.ring_bytes_total", "storage.ring_bytes_per_run")
def rings_fit_in_their_total(config: Config) -> Iterator[str]:
    """One run may not be allowed more than all together."""
    if config.storage.ring_bytes_total < config.storage.ring_bytes_per_run:
        yield (
            f"ring_bytes_total ({config.storage.ring_bytes_total}) must not be below "
            f"ring_bytes_per_run ({config.storage.ring_bytes_per_run})"
        )


@_rule("limits.message_burst", "limits.messages_per_second")
def rate_limit_lets_something_through(config: Config) -> Iterator[str]:
    """A bucket that holds nothing refuses every message."""
    if config.limits.messages_per_second and not config.limits.message_burst:
        yield "message_burst must be at least 1 while messages_per_second is not 0"


@_rule("limits.message_burst_per_address", "limits.messages_per_second_per_address")
def address_rate_lets_something_through(config: Config) -> Iterator[str]:
    """The same for all sessions of an address together."""
    if config.limits.messages_per_second_per_address and not config.limits.message_burst_per_address:
        yield "message_burst_per_address must be at least 1 while messages_per_second_per_address is not 0"


@_rule("limits.request_burst_per_address", "limits.requests_per_second_per_address")
def request_rate_lets_something_through(config: Config) -> Iterator[str]:
    """The same for requests."""
    if config.limits.requests_per_second_per_address and not config.limits.request_burst_per_address:
        yield "request_burst_per_address must be at least 1 while requests_per_second_per_address is not 0"


@_rule("limits.byte_burst", "limits.bytes_per_second", "websocket.max_message_bytes")
def byte_burst_holds_a_message(config: Config) -> Iterator[str]:
    """Otherwise one allowed message would be refused for ever."""
    if config.limits.bytes_per_second and config.limits.byte_burst < config.websocket.max_message_bytes:
        yield (
            f"byte_burst must be at least websocket.max_message_bytes ({config.websocket.max_message_bytes}) "
            "while bytes_per_second is not 0"
        )


@_rule("auth.mode", "auth.allow_open", "server.bind", "server.public_url", "server.trusted_proxies")
def open_mode_stays_home(config: Config) -> Iterator[str]:
    """In open mode anyone may be anyone; a daemon behind a proxy is reached from outside whatever it binds."""
    if config.auth.mode != "open" or config.auth.allow_open:
        return
    if config.server.public_url or config.server.trusted_proxies:
        exposed = "the daemon is behind a proxy (server.public_url or server.trusted_proxies is set)"
    elif not is_loopback(config.server.bind):
        exposed = f"server.bind {config.server.bind!r} is reached from beyond this machine"
    else:
        return
    yield f'{exposed}, where auth.mode "open" lets anyone in: set auth.mode "jwt", or auth.allow_open = true'


@_rule("auth.mode", "auth.key_file", "auth.key_env", "auth.jwks_file")
def token_mode_has_one_key(config: Config) -> Iterator[str]:
    """And a key without the mode would be a lock that nobody turned."""
    auth = config.auth
    keys = [key for key in (auth.key_file, auth.key_env, auth.jwks_file) if key]
    if auth.mode == "jwt" and len(keys) != 1:
        yield 'auth.mode "jwt" needs a key: set one of auth.key_file, auth.key_env and auth.jwks_file'
    if auth.mode == "open" and keys:
        yield (
            'auth.key_file, auth.key_env and auth.jwks_file do nothing in auth.mode "open": '
            'set auth.mode "jwt", or remove them'
        )


@_rule("auth.key_file", "auth.algorithm")
def token_key_is_readable(config: Config) -> Iterator[str]:
    """The key of HS256 is a secret; those of the others are public."""
    yield from _file_problems(config.auth.key_file, secret=config.auth.algorithm == "HS256")


@_rule("auth.key_env")
def key_variable_is_a_name(config: Config) -> Iterator[str]:
    """The value is the variable's name, so a secret that was put there by mistake must not be repeated."""
    name = config.auth.key_env
    if name and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,99}", name):
        yield "must be the name of an environment variable (A-Z, 0-9 and _), which then holds the key"
    elif name.startswith("COLLABD_") and "__" in name:
        yield "must not look like a setting (COLLABD_TABLE__KEY); COLLABD_TOKEN_KEY is a good name"


@_rule("auth.jwks_file", "auth.algorithm")
def jwks_file_is_readable(config: Config) -> Iterator[str]:
    """Checked at start, not at the first token. With HS256 it holds secrets."""
    yield from _file_problems(config.auth.jwks_file, secret=config.auth.algorithm == "HS256")


@_rule("admin.token_file")
def admin_token_is_readable(config: Config) -> Iterator[str]:
    """And by nobody who has no business with it."""
    yield from _file_problems(config.admin.token_file, secret=True)


@_rule("storage.data_dir")
def data_directory_is_no_file(config: Config) -> Iterator[str]:
    """Whether it can be written to is found out when it is opened."""
    directory = config.storage.data_dir
    if os.path.exists(directory) and not os.path.isdir(directory):
        yield f"{directory} is no directory"


def is_loopback(bind: str) -> bool:
    """Whether a bind address is reached from this machine only; one that cannot be read counts as if it were.

    A host name other than localhost may mean anything, so it is none. A Unix socket is.
    """
    try:
        host, _ = parse_address(bind)
    except ValueError:
        return True
    try:
        return host in ("localhost", "") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _event_type_problems(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if not EVENT_TYPE.fullmatch(name):
            yield f"{name!r} is no event type: 1 to 50 of A-Z, 0-9 and _, the first a letter"
        elif name in RESERVED_EVENT_TYPES:
            yield f"{name} is reserved for the server"


def _file_problems(path: Path | None, *, secret: bool = False) -> Iterator[str]:
    if path is None:
        return
    try:
        # O_NONBLOCK: opening a pipe that stands there by mistake must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        yield f"{path} cannot be read: {error.strerror}"
        return
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        yield f"{path} is no file"
    elif status.st_size == 0:
        yield f"{path} is empty"
    elif secret and status.st_mode & stat.S_IRWXO:
        yield f"{path} can be read or changed by everybody on this machine: chmod 600 {path}"
