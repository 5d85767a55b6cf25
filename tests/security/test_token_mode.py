"""Token mode, from joining to the end of a token: the same answer on every path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from collabd.errors import ProtocolError, StorageUnavailable
from collabd.store.memory import MemoryStore
from tests.hub.support import FakeClient, settle
from tests.security.gate import Answer, Gate, token_mode
from tests.security.signing import OTHER_RUN, RUN, sign

POLL = "/api/runs/{run}/collaboration/poll"
REPLAY = "/api/runs/{run}/collaboration/replay"
EVENTS = "/api/runs/{run}/collaboration/events"
GRAFT = {"eventType": "GRAFT", "data": {"after": "A"}, "clientMessageId": "m1"}

Ask = Callable[[Gate, str | None, str, str], Awaitable[Answer]]


async def _join(gate: Gate, token: str | None, run: str, query: str) -> Answer:
    try:
        client = await gate.join(token, run=run, user=query.removeprefix("userId=") or None)
    except ProtocolError as error:
        return Answer(error.status, {"code": error.code, "detail": error.message}, {})
    return Answer(200, client.welcome(), {})


async def _poll(gate: Gate, token: str | None, run: str, query: str) -> Answer:
    return await gate.ask(f"{POLL.format(run=run)}?{query}", token)


async def _replay(gate: Gate, token: str | None, run: str, query: str) -> Answer:
    return await gate.ask(f"{REPLAY.format(run=run)}?{query}", token)


async def _publish(gate: Gate, token: str | None, run: str, query: str) -> Answer:
    return await gate.ask(f"{EVENTS.format(run=run)}?{query}", token, method="POST", body=GRAFT)


async def _runs(gate: Gate, token: str | None, run: str, query: str) -> Answer:
    return await gate.ask("/api/runs", token)


async def _admin(gate: Gate, token: str | None, run: str, query: str) -> Answer:
    return await gate.ask("/api/admin/websocket/health", token, Via="1.1 proxy")


async def _metrics(gate: Gate, token: str | None, run: str, query: str) -> Answer:
    return await gate.ask("/metrics", token, Via="1.1 proxy")


PATHS = {
    "join": _join, "poll": _poll, "replay": _replay, "publish": _publish, "runs": _runs,
    "admin": _admin, "metrics": _metrics,
}  # fmt: skip
OF_A_RUN = ("join", "poll", "replay", "publish")
WITH_A_USER = ("join", "poll", "publish")

every_path = pytest.mark.parametrize("path", PATHS)


@every_path
async def test_every_path_lets_in_a_good_token(path: str, autojump_clock: MockClock) -> None:
    """One token of role admin opens them all."""
    async with token_mode() as gate:
        answer = await PATHS[path](gate, gate.token(role="admin"), RUN, "")
        assert answer.status == 200, answer


@every_path
async def test_every_path_refuses_the_same_tokens_in_the_same_words(path: str, autojump_clock: MockClock) -> None:
    """Missing, misspelt, forged, expired, revoked by id or by user: which of them, nobody is told."""
    async with token_mode() as gate:
        good = gate.token()
        bad = [None, "x", sign({"sub": "ann"}), good[:-2] + "AA", gate.token(lasts=0), gate.token(jti="gone")]
        assert (await gate.revoke(jti="gone")).status == 200
        bad.append(gate.token(sub="bea", role="admin"))
        assert (await gate.revoke(sub="bea")).status == 200
        answers = [await PATHS[path](gate, token, RUN, "") for token in bad]
    assert {(answer.status, answer.code) for answer in answers} == {(401, "unauthorized")}
    assert len({answer.body["detail"] for answer in answers}) == 1
    assert not any(token in str(answers) for token in bad if token not in (None, "x"))


@pytest.mark.parametrize("path", OF_A_RUN)
async def test_a_token_opens_only_the_runs_it_names(path: str, autojump_clock: MockClock) -> None:
    """403 for another run, whether that exists or not, and it is not made by asking."""
    async with token_mode() as gate:
        answer = await PATHS[path](gate, gate.token(), OTHER_RUN, "")
        assert (answer.status, answer.code) == (403, "forbidden")
        assert OTHER_RUN not in gate.hub.runs


@pytest.mark.parametrize("path", WITH_A_USER)
async def test_nobody_acts_under_another_name(path: str, autojump_clock: MockClock) -> None:
    """The token names the user; the same name again is fine."""
    async with token_mode() as gate:
        answer = await PATHS[path](gate, gate.token(), RUN, "userId=bea")
        assert (answer.status, answer.code) == (400, "user_mismatch")
        assert (await PATHS[path](gate, gate.token(), RUN, "userId=ann")).status == 200


@pytest.mark.parametrize("path", ["admin", "metrics"])
@pytest.mark.parametrize("role", ["viewer", "editor"])
async def test_only_role_admin_looks_behind_the_scenes(path: str, role: str, autojump_clock: MockClock) -> None:
    """403 for other roles, and for the admin token of another server 401."""
    async with token_mode() as gate:
        answer = await PATHS[path](gate, gate.token(role=role), RUN, "")
        assert (answer.status, answer.code) == (403, "forbidden")


async def test_the_admin_token_is_no_users_token(autojump_clock: MockClock) -> None:
    """It names nobody."""
    async with token_mode() as gate:
        assert (await gate.ask(POLL.format(run=RUN), "an admin token for tests")).status == 401


async def test_a_viewer_looks_and_moves_its_cursor_on_every_path(autojump_clock: MockClock) -> None:
    """Anything else it sends is forbidden, over WebSocket and over HTTP."""
    async with token_mode() as gate:
        token = gate.token(role="viewer")
        client = await gate.join(token)
        client.send("GRAFT", {"after": "A"}, "m1")
        client.send("CURSOR_MOVE", {"nodeId": "n"}, "m2")
        await settle()
        assert client.of_type("ERROR")[0]["data"]["code"] == "forbidden"
        assert client.of_type("ACK")[0]["data"]["clientMessageId"] == "m2"
        answer = await gate.ask(EVENTS.format(run=RUN), token, method="POST", body=GRAFT)
        assert (answer.status, answer.code) == (403, "forbidden")
        move = {"eventType": "CURSOR_MOVE", "data": {"nodeId": "n"}}
        assert (await gate.ask(EVENTS.format(run=RUN), token, method="POST", body=move)).status == 200


async def test_the_list_of_runs_is_of_those_that_the_token_names(autojump_clock: MockClock) -> None:
    """All of them, however many newer ones there are."""
    async with token_mode() as gate:
        everything = gate.token(runs="*")
        runs = [RUN, *(f"00000000-0000-4000-8000-00000000000{number}" for number in range(5))]
        for run in runs:
            await gate.ask(EVENTS.format(run=run), everything, method="POST", body=GRAFT)
        listed = await gate.ask("/api/runs?limit=2", gate.token())
        assert [row["runId"] for row in listed.body] == [RUN]
        assert len((await gate.ask("/api/runs?limit=2", everything)).body) == 2
        assert (await gate.ask("/api/runs", gate.token(runs=[]))).body == []


# The end of a token


def code_of(client: FakeClient) -> int | None:
    """How the server ended this connection; None while it lives."""
    connection = client.connection
    assert client.link.ended == (connection.close_code is not None)
    return connection.close_code


async def test_a_connection_ends_within_a_second_of_its_token(autojump_clock: MockClock) -> None:
    """With 4401, after which a client gets a new token and comes back."""
    async with token_mode() as gate:
        client, other = await gate.join(gate.token(lasts=10)), await gate.join(gate.token(sub="bea"))
        await trio.sleep(9.9)
        assert code_of(client) is None
        await trio.sleep(1.1)
        assert code_of(client) == 4401
        assert code_of(other) is None


async def test_a_token_is_renewed_in_band(autojump_clock: MockClock) -> None:
    """AUTH is answered with AUTH_OK, and the connection lives as long as the new token, with its rights."""
    async with token_mode() as gate:
        client = await gate.join(gate.token(lasts=10))
        client.send("AUTH", {"token": gate.token(lasts=30, role="viewer")})
        await settle()
        assert client.of_type("AUTH_OK")[0]["data"] == {"expiresAt": gate.hub.now_ms() + 30_000}
        await trio.sleep(20)
        client.send("GRAFT", {"after": "A"}, "m1")
        await settle()
        assert client.of_type("ERROR")[0]["data"]["code"] == "forbidden"
        assert code_of(client) is None
        await trio.sleep(11)
        assert code_of(client) == 4401


async def test_a_shorter_token_ends_a_connection_sooner(autojump_clock: MockClock) -> None:
    """The last one given counts."""
    async with token_mode() as gate:
        client = await gate.join(gate.token(lasts=600))
        client.send("AUTH", {"token": gate.token(lasts=5)})
        await trio.sleep(6)
        assert code_of(client) == 4401


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"lasts": 0}, 4401), ({"jti": "gone"}, 4401), ({"sub": "bea"}, 4403), ({"runs": [OTHER_RUN]}, 4403)],
)
async def test_a_renewal_that_is_not_good_ends_the_connection(
    changed: dict[str, Any], code: int, autojump_clock: MockClock
) -> None:
    """4401 for a bad token, 4403 for another user's or one without a right to the run."""
    async with token_mode() as gate:
        client = await gate.join(gate.token())
        await gate.revoke(jti="gone")
        client.send("AUTH", {"token": gate.token(**changed)})
        await settle()
        assert code_of(client) == code
        assert client.of_type("AUTH_OK") == []


async def test_a_waiting_poll_ends_with_its_token(autojump_clock: MockClock) -> None:
    """As any poll would then be answered."""
    async with token_mode() as gate:
        start = trio.current_time()
        answer = await gate.ask(f"{POLL.format(run=RUN)}?wait=30000", gate.token(lasts=3))
        assert answer.status == 401
        assert trio.current_time() - start == pytest.approx(3, abs=0.01)


# Revocation


@pytest.mark.parametrize("body", [{"sub": "ann"}, {"jti": "token-1"}])
async def test_a_revocation_ends_live_connections_and_waiting_polls_at_once(
    body: dict[str, str], autojump_clock: MockClock
) -> None:
    """Those of that user or token, and no others."""
    async with token_mode() as gate:
        token, other_token = gate.token(), gate.token(sub="bea", jti="token-2")
        client, other = await gate.join(token), await gate.join(other_token)
        answers: dict[str, Answer] = {}
        ended: dict[str, float] = {}

        async def poll(name: str, token: str) -> None:
            answers[name] = await gate.ask(f"{POLL.format(run=RUN)}?wait=30000", token)
            ended[name] = trio.current_time()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll, "ann", token)
            nursery.start_soon(poll, "bea", other_token)
            await settle()
            now = trio.current_time()
            assert (await gate.revoke(**body)).status == 200
        assert code_of(client) == 4401
        assert code_of(other) is None
        assert (answers["ann"].status, ended["ann"]) == (401, now)
        assert answers["bea"].status == 200


async def test_a_revocation_between_the_check_and_the_join_counts(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading a run takes time, in which an operator may act."""
    store = MemoryStore()
    head = store.head

    async def slow_head(run_id: str) -> Any:
        await trio.sleep(1)
        return await head(run_id)

    monkeypatch.setattr(store, "head", slow_head)
    async with token_mode(store) as gate, trio.open_nursery() as nursery:

        async def join() -> None:
            with pytest.raises(ProtocolError, match="valid token"):
                await gate.join(gate.token())

        nursery.start_soon(join)
        await trio.sleep(0.5)
        await gate.revoke(jti="token-1")


async def test_a_revocation_outlives_the_process(autojump_clock: MockClock) -> None:
    """It is loaded before anybody may come in."""
    store = MemoryStore()
    async with token_mode(store) as gate:
        token = gate.token()
        await gate.revoke(jti="token-1")
    async with token_mode(store) as gate:
        assert (await gate.ask(POLL.format(run=RUN), token)).status == 401


async def test_a_user_comes_back_with_a_token_issued_later(autojump_clock: MockClock) -> None:
    """Later than auth.leeway_s; until then when in doubt it is an old one."""
    async with token_mode() as gate:
        await gate.revoke(sub="ann")
        assert (await gate.ask(POLL.format(run=RUN), gate.token())).status == 401
        await trio.sleep(6)
        assert (await gate.ask(POLL.format(run=RUN), gate.token())).status == 200


async def test_a_revocation_that_cannot_be_kept_is_in_force_all_the_same(autojump_clock: MockClock) -> None:
    """And the operator is told that a restart would forget it."""
    store = MemoryStore()
    async with token_mode(store) as gate:
        client = await gate.join(gate.token())
        store.refuse_with = StorageUnavailable("the disk is full")
        answer = await gate.revoke(sub="ann")
        assert (answer.status, answer.code) == (503, "storage_unavailable")
        assert code_of(client) == 4401


@pytest.mark.parametrize(
    "body", [{}, {"sub": "a", "jti": "b"}, {"sub": ""}, {"jti": ""}, {"jti": "x" * 256}, {"sub": 5}, {"user": "a"}, []]
)
async def test_what_names_no_token_revokes_nothing(body: Any, autojump_clock: MockClock) -> None:
    """400, in words."""
    async with token_mode() as gate:
        answer = await gate.ask(
            "/api/admin/tokens/revoke", "an admin token for tests", method="POST", body=body
        )  # fmt: skip
        assert answer.status == 400
        assert await gate.hub.store.revocations() == []


async def test_only_operators_revoke(autojump_clock: MockClock) -> None:
    """Not even a user his own token."""
    async with token_mode() as gate:
        path = "/api/admin/tokens/revoke"
        answers = [await gate.ask(path, token, method="POST", body={"sub": "ann"}) for token in ("x", gate.token())]
        assert [answer.status for answer in answers] == [401, 403]
        assert (await gate.ask(path, gate.token(role="admin"), method="POST", body={"sub": "bea"})).status == 200


async def test_gone_connections_leave_nothing_behind(autojump_clock: MockClock) -> None:
    """However many come and go."""
    async with token_mode() as gate:
        for _ in range(3):
            (await gate.join(gate.token())).leave()
        assert not gate.hub.credentials._identities
