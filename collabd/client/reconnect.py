"""When to try again, and when to stop: what each end of a connection and each refusal means.

Law of this file: docs/client-behaviour.md R18, R24 to R29, R33, R44, R51, R70. Pure: times are seconds of the
caller's monotonic clock, `random` a number in [0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass

from collabd.client.errors import (
    ConnectionProblem,
    Ended,
    NotCollabd,
    Refused,
    Replaced,
    ServerBusy,
    ServerUnreachable,
    Unauthorized,
)
from collabd.client.outbox import backoff_delay
from collabd.client.settings import BACKOFF_CAP_S, DEFAULT_RATE_WAIT_S, LATE_ATTEMPT_S, PROBE_CAP_S, Limits


@dataclass(frozen=True)
class Ending:
    """How an attempt or a connection ended, as far as the next step goes.

    `problem`: why, for the application. `is_final`: the client gives up. `counts`: a failure unless the connection
    was stable. `wait_s`: come back no sooner than this. `wait_is_all`: and no later either. `at_once`: no backoff.
    `new_token`: ask for one first.
    """

    problem: ConnectionProblem | None = None
    is_final: bool = False
    counts: bool = True
    wait_s: float = 0.0
    wait_is_all: bool = False
    at_once: bool = False
    new_token: bool = False


#: The client dropped the connection for a reason of its own and comes back at once (R18, R66).
OWN_WILL = Ending(counts=False, at_once=True)


class Reconnection:
    """The counter of failures and the times that the server told."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._not_before = 0.0
        self._abandoned_at: list[float] = []
        self.failures = 0
        self.tries = 0

    @property
    def falls_back(self) -> bool:
        """Enough failed that HTTP polling takes over (R70)."""
        return self.failures >= self._limits.max_reconnect_attempts

    def abandoned(self, now: float) -> None:
        """An attempt that presented the session was given up without an answer; it may still arrive (R29)."""
        self._abandoned_at.append(now)

    def was_replaced_by_itself(self, now: float) -> bool:
        """Whether a 4009 can be the work of an abandoned attempt; each of them explains one."""
        self._abandoned_at = [at for at in self._abandoned_at if now - at <= LATE_ATTEMPT_S]
        if not self._abandoned_at:
            return False
        self._abandoned_at.pop()
        return True

    def became_stable(self) -> None:
        """A connection lived long enough to be called a success (R25)."""
        self.failures = 0

    def next_try_at(self, ending: Ending, *, was_stable: bool, now: float, random: float) -> float:
        """Note how it ended; when to try again (R24)."""
        if ending.counts and not was_stable:
            self.failures += 1
        self._not_before = max(self._not_before, now + ending.wait_s)
        cap_s = PROBE_CAP_S if self.falls_back else BACKOFF_CAP_S
        no_delay = ending.at_once or ending.wait_is_all
        delay_s = 0.0 if no_delay else backoff_delay(self.failures, cap_s, random)
        return max(self._not_before, now + delay_s)


def after_close(
    code: int | None, reason: str, url: str, *, drain_left_s: float | None, rate_told_ms: int | None
) -> Ending:
    """What a close code says (R29). `code` None: an end without one.

    `drain_left_s`: what is left of DRAIN's `retryAfterMs`, if there was a DRAIN; `rate_told_ms`: of the last
    `rate_limited` ERROR on that connection.
    """
    lost = ServerUnreachable(
        url, f"the connection ended ({code or 'without a close'}{', ' + reason if reason else ''})"
    )
    if code == 1000:
        return Ending(Ended(reason), is_final=True)
    if code == 4009:
        return Ending(Replaced(), is_final=True)
    if code in (4403, 4404):
        name = "forbidden" if code == 4403 else "run_not_found"
        return Ending(Refused(name, reason or "the server closed the session"), is_final=True)
    if code == 4401:
        return Ending(Unauthorized(reason or "it expired"), counts=False, new_token=True)
    if code == 4429:
        wait_s = DEFAULT_RATE_WAIT_S if rate_told_ms is None else rate_told_ms / 1000
        return Ending(ServerBusy("too many messages", wait_s), counts=False, wait_s=wait_s)
    if drain_left_s is not None:
        return Ending(ServerBusy("it restarts", drain_left_s), counts=False, wait_s=drain_left_s, wait_is_all=True)
    return Ending(lost, counts=code != 1012)


def after_status(status: int, code: str | None, message: str, retry_after_s: float | None, url: str) -> Ending:
    """What an HTTP status means for the connection (R44). `code` and `message` are those of problem+json."""
    if code is None:
        return Ending(NotCollabd(url, f"it answers with status {status} and no word of ours"))
    if status == 401:
        return Ending(Unauthorized(message), counts=False, new_token=True)
    if status in (400, 403, 404):
        return Ending(Refused(code, message), is_final=True)
    if status in (429, 503):
        wait_s = 1.0 if retry_after_s is None else retry_after_s
        counts = status == 503 and retry_after_s is None
        return Ending(ServerBusy(message, wait_s), counts=counts, wait_s=wait_s)
    return Ending(ServerUnreachable(url, f"status {status}: {message}"))
