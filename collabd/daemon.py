"""The daemon: opens everything in order, serves, and closes everything in the opposite order.

Law of this file: it alone sees every package, and owns the nursery tree:

    store ─ hub (committer, runs) ─ handlers (one task per connection) ─ acceptor

Stopping goes from the inside out: new joins are refused, what waits is committed and told, sessions are asked to come
back later, HTTP ends, the store is closed. Each step has its share of server.drain_timeout_s. Where the service manager
keeps the listening sockets, nobody new is accepted before that: they wait for the next daemon.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import resource
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio

from collabd import __version__
from collabd.admin_door import AdminDoor, load_admin_token
from collabd.auth import Authenticator, OpenDoor
from collabd.config import Config, check_rules
from collabd.errors import CollabdError, ConfigError, StorageFailed
from collabd.gateway.http import HttpServer
from collabd.gateway.listener import SocketListener, open_listeners, serve_connections
from collabd.gateway.server import Gateway
from collabd.gateway.unix_listener import open_unix_listener
from collabd.hub.hub import Hub, wall_clock_ms
from collabd.hub.watch import watching
from collabd.log import set_up_logging
from collabd.routes.app import make_app
from collabd.service.activation import Handed, address_of, most_open_bind, take_sockets
from collabd.service.beat import status_of, telling
from collabd.service.notify import find_manager, this_process
from collabd.service.reload import Running, load_certificate, reload
from collabd.store.sqlite import open_store

logger = logging.getLogger("collabd.daemon")

SWITCH_INTERVAL_S: Final = 0.0001
"""SQLite gives up the interpreter lock at each statement. A busy event loop would keep it 5 ms each time, or for as
long as it gives it up for a moment more often than that (docs/performance.md, "Persisted events")."""

_HTTP_GRACE_S: Final = 1.0
_GREETING_GRACE_S: Final = 1.0


def run_daemon(config: Config, load: Callable[[], Config]) -> int:
    """Run until SIGTERM or Ctrl-C; answers the exit status. `load` reads the configuration anew, at each SIGHUP.

    0: stopped. 1: failed, and another start may help. 2: only the operator can help (docs/operations.md).
    """
    set_up_logging(config.logging.level, config.logging.format)
    # A watchdog's SIGABRT then writes where every thread stands.
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _raise_descriptor_limit()
    status = 0
    try:
        trio.run(serve, config, load, strict_exception_groups=True)
    except* (CollabdError, OSError) as group:
        status = 2 if _say(group) else 1
    return status


async def serve(config: Config, load: Callable[[], Config]) -> None:
    """Open, serve, reload, drain and close. Raises what run_daemon turns into an exit status."""
    manager = find_manager(os.environ, this_process())
    handed = take_sockets(os.environ, this_process())
    config = _reached_by(config, handed)
    for each in handed:
        logger.info("listening on %s, from the service manager (%s)", each.address, each.name)
    listeners = [SocketListener(each.sock) for each in handed] if handed else await _listen(config)
    tls = _tls_context(config)
    async with open_hub(config) as hub:
        door = AdminDoor(config, hub.authenticator, load_admin_token(config))
        http = HttpServer(
            make_app(hub, door),
            turnstile=hub.turnstile,
            write_timeout_s=config.server.write_timeout_s,
            max_message_bytes=config.websocket.max_message_bytes,
            max_head_bytes=config.limits.request_head_max_bytes,
            messages=(config.limits.messages_per_second, config.limits.message_burst),
        )
        gateway = Gateway(hub, http, tls)
        running = Running(hub, door, http, tls)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with _accepting(gateway, listeners) as acceptor, telling(manager, hub):
                _say_ready(listeners, tls is not None)
                manager.ready(status_of(hub))
                while await anext(signals) == signal.SIGHUP:
                    manager.reloading()
                    outcome = await reload(running, lambda: _reached_by(load(), handed))
                    manager.ready(f"{status_of(hub)}; {outcome}")
                logger.info("stopping: draining %d connections", hub.connection_count)
                manager.stopping(f"stopping: asking {hub.connection_count} sessions to come back")
                if handed:
                    await _leave_the_rest_waiting(acceptor, gateway, http)
                await _stop(hub, http, signals, hub.config.server.drain_timeout_s)
    logger.info("stopped")


def _reached_by(config: Config, handed: list[Handed]) -> Config:
    """The configuration with server.bind as the sockets that were handed over have it. Raises ConfigError."""
    bind = most_open_bind(handed)
    if bind is None or bind == config.server.bind:
        return config
    if config.server.bind != Config().server.bind:
        logger.warning("server.bind = %s is not used: the service manager hands over the sockets", config.server.bind)
    config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, bind=bind))
    check_rules(config, {"server.bind": f"socket from the service manager, {bind}"})
    return config


@asynccontextmanager
async def open_hub(config: Config) -> AsyncIterator[Hub]:
    """Open the store and run a hub over it for the length of the block. Raises DatabaseUnusable, ConfigError."""
    storage = config.storage
    authenticator = make_authenticator(config)
    async with (
        open_store(
            storage.data_dir,
            synchronous=storage.synchronous,
            retention=storage.max_persisted_messages_per_run,
            dedupe_window_s=storage.dedupe_window_s,
        ) as store,
        Hub(config, store, authenticator=authenticator).running() as hub,
        watching(hub),
    ):
        await load_revocations(hub)
        yield hub


def make_authenticator(config: Config) -> Authenticator:
    """Who decides who comes in, as configured. Raises ConfigError for a key that cannot be used."""
    if config.auth.mode == "open":
        return OpenDoor()
    from collabd.tokens import TokenDoor, load_keys  # 0.1 s of imports that only this mode needs

    return TokenDoor(config.auth, load_keys(config.auth, os.environ), now_ms=wall_clock_ms)


async def load_revocations(hub: Hub) -> None:
    """Put in force what was revoked before this start. Raises StorageUnavailable: then nobody may come in."""
    if hub.config.auth.mode != "open":
        for revocation in await hub.store.revocations():
            hub.authenticator.revoke(revocation)


class _Acceptor:
    """The task that accepts connections; `stop` ends it while those accepted are still served."""

    def __init__(self) -> None:
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self, gateway: Gateway, listeners: list[SocketListener], handlers: trio.Nursery) -> None:
        """Accept until stopped."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(serve_connections, listener, gateway.handle, gateway.wait_room, handlers)
        self._ended.set()

    async def stop(self) -> None:
        """Accept nobody any more; every connection that was accepted has a task when this returns."""
        self._scope.cancel()
        await self._ended.wait()


@asynccontextmanager
async def _accepting(gateway: Gateway, listeners: list[SocketListener]) -> AsyncIterator[_Acceptor]:
    """Accept and handle connections for the length of the block; connections left at its end are closed."""
    async with trio.open_nursery() as handlers, trio.open_nursery() as nursery:
        handlers.start_soon(gateway.read_sockets)
        acceptor = _Acceptor()
        nursery.start_soon(acceptor.run, gateway, listeners, handlers)
        # What exists now lives as long as the process; collections need not look at it again.
        gc.collect()
        gc.freeze()
        # A connection is made of many small objects that live long; looking at all of them again and again took a
        # third of the time of 5,000 connects, and finds nothing: they are freed by their reference counts.
        gc.set_threshold(50_000, 20, 50)
        yield acceptor
        nursery.cancel_scope.cancel()
        handlers.cancel_scope.cancel()


async def _leave_the_rest_waiting(acceptor: _Acceptor, gateway: Gateway, http: HttpServer) -> None:
    """Accept nobody any more, and hear those out who were accepted a moment ago; who comes now waits in the queue."""
    await acceptor.stop()
    with trio.move_on_after(_GREETING_GRACE_S):
        await gateway.wait_greeted()
        await http.wait_begun()


async def _stop(hub: Hub, http: HttpServer, signals: AsyncIterator[int], timeout_s: float) -> None:
    """Drain and end HTTP within so many seconds; a second signal cuts it short."""
    with trio.move_on_after(timeout_s) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at_signal, signals, scope)
            await hub.drain(timeout_s * 0.8)
            await http.stop(min(_HTTP_GRACE_S, timeout_s * 0.1))
            nursery.cancel_scope.cancel()
    await http.stop(0)


async def _cancel_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for number in signals:
        if number == signal.SIGHUP:
            continue
        logger.warning("second signal: stopping at once")
        scope.cancel()


async def _listen(config: Config) -> list[SocketListener]:
    host, port = config.server.address
    try:
        if config.server.socket_path is not None:
            return [open_unix_listener(config.server.socket_path)]
        return await open_listeners(host, port)
    except PermissionError as error:
        what_to_do = "take a port from 1024 on" if config.server.socket_path is None else "see to its directory"
        raise ConfigError(
            [
                f"server.bind: this user may not listen on {config.server.bind}: {what_to_do}, or let "
                "systemd open it (collabd.socket)"
            ]
        ) from error
    except OSError as error:
        raise CollabdError(
            f"cannot listen on {config.server.bind}: {error.strerror or error}; "
            "is another collabd running, or another program there? (server.bind)"
        ) from error


def _tls_context(config: Config) -> ssl.SSLContext | None:
    if config.server.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, config)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def _say_ready(listeners: list[SocketListener], tls: bool) -> None:
    address = address_of(listeners[0].sock)
    scheme = "https" if tls else "http"
    print(f"collabd is ready at {address if address.startswith('unix:') else f'{scheme}://{address}'}", flush=True)
    logger.info("collabd %s is ready", __version__)


def _raise_descriptor_limit() -> None:
    """As many connections as the system allows, not as many as a shell happens to."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _say(group: BaseExceptionGroup[Exception]) -> bool:
    """One line for each thing that went wrong, however deeply grouped; answers whether only the operator can help."""
    needs_operator = False
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            needs_operator |= _say(error)
        else:
            print(f"collabd: {error}", file=sys.stderr)
            needs_operator |= getattr(error, "needs_operator", False)
            if isinstance(error, StorageFailed):
                logger.critical("storage failed; nothing was acknowledged after it. Restart to recover.")
    return needs_operator
