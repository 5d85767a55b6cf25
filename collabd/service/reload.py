"""Taking a changed configuration into a running daemon (SIGHUP).

Law of this file: everything that can fail happens before anything is changed. What cannot change while the daemon runs
keeps its value, is named, and waits for a restart; the rules between settings are asked of what results.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import trio

from collabd.admin_door import AdminDoor, load_admin_token
from collabd.config import Config, check_rules, settings
from collabd.errors import ConfigError
from collabd.gateway.http import HttpServer
from collabd.hub.hub import Hub
from collabd.log import set_up_logging

if TYPE_CHECKING:
    from collabd.tokens import Key

logger = logging.getLogger("collabd.service")

_LIVE_TABLES: Final = ("limits", "client", "logging", "admin")
_LIVE_KEYS: Final = frozenset(
    [f"auth.{key}" for key in ("algorithm", "key_file", "key_env", "jwks_file", "audience", "issuer", "leeway_s")]
    + [f"server.{key}" for key in ("handshake_timeout_s", "write_timeout_s", "drain_timeout_s")]
)


class Running(NamedTuple):
    """The parts of a daemon that a reload reaches."""

    hub: Hub
    door: AdminDoor
    http: HttpServer
    tls: ssl.SSLContext | None


class Plan(NamedTuple):
    """What a reload does: the configuration that results, the settings that change, and those that wait."""

    config: Config
    changed: list[str]
    waiting: list[str]


class _Secrets(NamedTuple):
    admin_token: str
    keys: list[Key] | None


def is_live(name: str) -> bool:
    """Whether a setting can change while the daemon runs."""
    return name.partition(".")[0] in _LIVE_TABLES or name in _LIVE_KEYS


def plan_reload(old: Config, new: Config) -> Plan:
    """What of a new configuration is taken at once. Raises ConfigError where that breaks a rule between settings."""
    differing = [name for name in settings() if _value(old, name) != _value(new, name)]
    changed = [name for name in differing if is_live(name)]
    tables: dict[str, dict[str, object]] = {}
    for name in changed:
        table, _, key = name.partition(".")
        tables.setdefault(table, {})[key] = _value(new, name)
    parts = {table: msgspec.structs.replace(getattr(old, table), **values) for table, values in tables.items()}
    config = msgspec.structs.replace(old, **parts)
    waiting = [name for name in differing if not is_live(name)]
    if waiting:
        # The new file as a whole was checked. A live setting may still need another one that has to wait.
        check_rules(config, dict.fromkeys(changed, f"without a restart ({', '.join(waiting)})"))
    return Plan(config, changed, waiting)


def _value(config: Config, name: str) -> object:
    table, _, key = name.partition(".")
    return getattr(getattr(config, table), key)


async def reload(running: Running, load: Callable[[], Config], environ: Mapping[str, str] = os.environ) -> str:
    """Read the configuration again and put it in force, or change nothing; answers what came of it, in one line.

    Files of keys, tokens and certificates are read again too, though their names may be the same.
    """
    try:
        plan, secrets = await trio.to_thread.run_sync(_prepare, running, load, environ)
    except ConfigError as error:
        for problem in error.problems:
            logger.error("not reloaded, nothing was changed: %s", problem)
        return "reload refused, as the log says"
    _put_in_force(running, plan, secrets)
    for name in plan.changed:
        logger.info("reloaded: %s", name)
    for name in plan.waiting:
        logger.warning("%s was changed, and needs a restart", name)
    logger.info("reloaded, keys and tokens were read again")
    return "reloaded" + (f"; {', '.join(plan.waiting)} need a restart" if plan.waiting else "")


def _prepare(running: Running, load: Callable[[], Config], environ: Mapping[str, str]) -> tuple[Plan, _Secrets]:
    """Everything that can fail. Raises ConfigError."""
    plan = plan_reload(running.hub.config, load())
    keys = None
    if plan.config.auth.mode == "jwt":
        from collabd.tokens import load_keys

        keys = load_keys(plan.config.auth, environ)
    secrets = _Secrets(load_admin_token(plan.config), keys)
    if running.tls is not None:
        load_certificate(running.tls, plan.config)
    return plan, secrets


def _put_in_force(running: Running, plan: Plan, secrets: _Secrets) -> None:
    config = plan.config
    set_up_logging(config.logging.level, config.logging.format)
    running.hub.reconfigure(config)
    running.door.replace_token(secrets.admin_token)
    running.http.reconfigure(
        write_timeout_s=config.server.write_timeout_s, max_head_bytes=config.limits.request_head_max_bytes
    )
    if secrets.keys is not None:
        running.hub.authenticator.replace_keys(config.auth, secrets.keys)


def load_certificate(context: ssl.SSLContext, config: Config) -> None:
    """Make a context use the configured certificate from the next handshake on. Raises ConfigError."""
    server = config.server
    assert server.tls_certificate is not None
    try:
        context.load_cert_chain(server.tls_certificate, server.tls_private_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"server.tls_certificate, server.tls_private_key: cannot be used: {error}"]) from error
