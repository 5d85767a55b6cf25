"""`collabd tail`, `collabd send`, `collabd replay`: a run on the command line, over collabd.client.

Law of this file: arguments in, lines out, exit status. Exit status: 0 done (for `send`: committed), 1 it could not be
done, 2 wrong usage. `collabd.cli` finds the commands in `commands`.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, TypeVar

import click
import trio

from collabd.client import ClientError, Event, InvalidRunId, InvalidUrl, InvalidUserId, Position, Reset, Run, open_run
from collabd.client.address import Place, check_run_id, parse_url
from collabd.client.errors import NotCollabd, Refused, UnserialisableData
from collabd.client.health import Transport
from collabd.client.http import request, tcp_dial
from collabd.client.messages import Malformed, Snapshot, dump, field, parse_object, read_snapshot

DEFAULT_URL = "http://127.0.0.1:8080"
_PAGE = 1000
_Result = TypeVar("_Result")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _default_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "collabd-cli"


def _run_id(ctx: click.Context, param: click.Parameter, value: str) -> str:
    try:
        return check_run_id(value)
    except InvalidRunId as error:
        raise click.BadParameter(str(error)) from None


def _connection_options(command: _Command) -> _Command:
    """RUN, and where and as whom to ask."""
    for decorate in (
        click.option("--token", envvar="COLLABD_TOKEN", help="Bearer token [env: COLLABD_TOKEN]"),
        click.option("--url", envvar="COLLABD_URL", default=DEFAULT_URL, show_default=True, help="[env: COLLABD_URL]"),
        click.argument("run_id", metavar="RUN", callback=_run_id),
    ):
        command = decorate(command)
    return command


_user_option = click.option(
    "--user", envvar="COLLABD_USER", default=_default_user, help="User id [env: COLLABD_USER; default: login name]"
)
_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, as the protocol has it.")


@click.command()
@_connection_options
@_user_option
@_json_option
@click.option("--from", "from_number", type=click.IntRange(1), metavar="N", help="Start with persisted event N.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Stop after N events.")
def tail(
    run_id: str, url: str, token: str | None, user: str, as_json: bool, from_number: int | None, count: int | None
) -> None:
    """Show a run's events as they come, after the critical ones that it keeps. Ctrl-C ends it."""
    place = _place(url, run_id, user)
    _quietly(lambda: _tail(place, token, from_number, _Printer(as_json, count)))


@click.command()
@_connection_options
@_user_option
@click.argument("event_type", metavar="TYPE")
@click.argument("data", metavar="DATA")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1), default=30.0, show_default=True, metavar="SECONDS")
def send(run_id: str, url: str, token: str | None, user: str, event_type: str, data: str, timeout_s: float) -> None:
    """Send one event of TYPE with DATA (JSON) and print its number once it is committed."""
    place = _place(url, run_id, user)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{data[:60]!r} is no JSON: {error}", param_hint="DATA") from None
    _quietly(lambda: _send(place, token, event_type, value, timeout_s))


@click.command()
@_connection_options
@_json_option
@click.option("--from", "from_number", type=click.IntRange(1), default=1, metavar="N", help="Start with event N.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Show at most N events [default: all]")
@click.option("--critical-only", is_flag=True, help="Only critical events.")
@click.option("--type", "event_type", metavar="TYPE", help="Only events of this type.")
def replay(
    run_id: str,
    url: str,
    token: str | None,
    as_json: bool,
    from_number: int,
    limit: int | None,
    critical_only: bool,
    event_type: str | None,
) -> None:
    """Show the events that a run keeps, and end."""
    place = _place(url, run_id, "")
    chosen = ({"criticalOnly": "true"} if critical_only else {}) | ({"eventType": event_type} if event_type else {})
    _quietly(lambda: _replay(place, token, from_number, chosen, _Printer(as_json, limit)))


commands: list[click.Command] = [tail, send, replay]


def _place(url: str, run_id: str, user: str) -> Place:
    try:
        return Place(parse_url(url), run_id, user)
    except InvalidUrl as error:
        raise click.BadParameter(str(error), param_hint="--url") from None


def _quietly(work: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
    """Run it; Ctrl-C ends it with the status that shells expect and without a word; errors get one line."""
    try:
        return trio.run(work)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BaseExceptionGroup as group:
        if group.subgroup(KeyboardInterrupt) is not None:
            raise SystemExit(130) from None
        raise
    except InvalidUserId as error:
        raise click.BadParameter(str(error), param_hint="--user") from None
    except BrokenPipeError:
        raise SystemExit(141) from None  # the reader of our output went away: as SIGPIPE would


# tail


class _Done(Exception):
    """As many events were shown as were asked for."""


class _Printer:
    """Prints events, and knows how many were wanted."""

    def __init__(self, as_json: bool, count: int | None) -> None:
        self._as_json = as_json
        self.left = count

    def show(self, event: Event) -> None:
        """Print one event. Raises _Done after the last that was wanted."""
        click.echo(dump(event.envelope()) if self._as_json else human_line(event))
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise _Done

    def show_reset(self, reset: Reset) -> None:
        """Say that the history changed; the state that follows is shown like events."""
        if not self._as_json:
            click.echo(f"-- the run's history changed ({reset.reason}); its state now:")
        for event in reset.events:
            self.show(event)


def human_line(event: Event) -> str:
    """An event for people: number, local time, user, type, data."""
    number = "-" if event.sequence_number is None else str(event.sequence_number)
    at = "" if event.timestamp is None else datetime.fromtimestamp(event.timestamp / 1000).strftime("%H:%M:%S")
    return f"{number:>6}  {at:8}  {event.user_id or '':12}  {event.event_type:12}  {dump(event.data)}"


async def _tail(place: Place, token: str | None, from_number: int | None, printer: _Printer) -> None:
    position = None if from_number is None else await _position_before(place, token, from_number)
    run = open_run(str(place.address), place.run_id, user_id=place.user_id, token=token, position=position)
    async with run as events, trio.open_nursery() as nursery:
        nursery.start_soon(_tell_of_connection, events)
        try:
            async for item in events:
                if isinstance(item, Reset):
                    printer.show_reset(item)
                else:
                    printer.show(item)
        except _Done:
            nursery.cancel_scope.cancel()


async def _tell_of_connection(run: Run) -> None:
    """Say on standard error when the connection goes and comes, so that silence is not mistaken for quiet."""
    last: Transport = "websocket"
    async for health in run.health_changes():
        if health.transport == last:
            continue
        last = health.transport
        told = {
            "none": f"connection lost, coming back by itself: {run.problem}",
            "polling": "polling over HTTP until a WebSocket passes",
            "websocket": "connected again",
        }
        click.echo(f"collabd: {told[last]}", err=True)


async def _position_before(place: Place, token: str | None, number: int) -> Position:
    """The position just before event `number`, or the nearest that can be resumed from."""
    body = await _get(place, token, place.replay(1, 1))
    head = _snapshot(place, body)
    oldest = field(body, "oldestSequence", int, 1)
    return Position(head.epoch, min(max(number, oldest) - 1, head.sequence_number))


async def _send(place: Place, token: str | None, event_type: str, value: object, timeout_s: float) -> None:
    run = open_run(str(place.address), place.run_id, user_id=place.user_id, token=token)
    with trio.move_on_after(timeout_s) as limit:
        async with run as sender:
            try:
                ack = await sender.send(event_type, value)
            except UnserialisableData as error:
                raise click.BadParameter(str(error), param_hint="DATA") from None
            number = "sent, not persisted" if ack.sequence_number is None else str(ack.sequence_number)
            click.echo(number)
    if limit.cancelled_caught:
        raise NotCommitted(timeout_s)


class NotCommitted(ClientError):
    """The time was over; whether the server has the message is not known."""

    code = "timeout"

    def __init__(self, timeout_s: float) -> None:
        super().__init__(
            f"not known to be committed within {timeout_s:g} s; look with `collabd replay`, or give a longer --timeout"
        )


# replay


async def _replay(place: Place, token: str | None, from_number: int, chosen: dict[str, str], printer: _Printer) -> None:
    next_number: int | None = from_number
    while next_number is not None:
        limit = _PAGE if printer.left is None else min(_PAGE, printer.left)
        body = await _get(place, token, place.replay(next_number, limit, **chosen))
        try:
            for event in _snapshot(place, body).events:
                printer.show(event)
        except _Done:
            return
        next_number = field(body, "nextSequence", int, None)


async def _get(place: Place, token: str | None, target: str) -> dict[str, Any]:
    """A JSON answer, or the error that says why there is none."""
    url = str(place.address)
    answer = await request(tcp_dial(), place.address, "GET", target, token=token)
    code, message = answer.problem
    if answer.status != 200 and code is not None:
        raise Refused(code, message)
    if answer.status != 200:
        raise NotCollabd(url, f"it answers with status {answer.status} and no word of ours")
    try:
        return parse_object(answer.body)
    except Malformed as error:
        raise NotCollabd(url, str(error)) from None


def _snapshot(place: Place, body: dict[str, Any]) -> Snapshot:
    try:
        return read_snapshot(body)
    except Malformed as error:
        raise NotCollabd(str(place.address), str(error)) from None
