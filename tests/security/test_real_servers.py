"""Token mode and the limits over real processes, on every transport that there is."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.security.signing import SECRET, claims, sign
from tests.transports.conftest import NAMES, make_transport, watched
from tests.transports.peer import Peer, Refused, Transport, new_run, socket_target
from tests.transports.servers import Server, daemon, hypercorn_alone, make_certificate, running
from tests.transports.wires import Headers, Http2Connection, Http2Wire

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ADDRESSES: Final = 2
SETTINGS: Final = {
    "AUTH__MODE": "jwt",
    "AUTH__KEY_FILE": "key",
    "AUTH__LEEWAY_S": "0",
    "LIMITS__CONNECTIONS_PER_ADDRESS": str(ADDRESSES),
    "LIMITS__REQUESTS_PER_SECOND_PER_ADDRESS": "1",
    "LIMITS__REQUEST_BURST_PER_ADDRESS": "8",
    "SERVER__TRUSTED_PROXIES": '["127.0.0.1"]',
    "SERVER__ALLOWED_ORIGINS": '["https://app.example"]',
}
SOON_S: Final = 1.0
"""Within what an expired or revoked token must be out (seconds)."""

minted: list[str] = []
addresses = iter(f"192.0.2.{number}" for number in range(1, 255))


def token(*, lasts: float = 600, **changed: Any) -> str:
    """A token that is good now; all that were made are looked for in the logs at the end."""
    now = time.time()
    made = sign(claims(**{"exp": now + lasts, "iat": now, "runs": "*", "jti": None} | changed), key=SECRET)
    minted.append(made)
    return made


def bearer(made: str) -> Headers:
    """How a program shows its token."""
    return [("authorization", f"Bearer {made}")]


def settings_in(directory: Path) -> dict[str, str]:
    """The settings, with a key file that is theirs alone."""
    directory.mkdir(parents=True)
    key = directory / "key"
    key.touch(0o600)
    key.write_text(SECRET)
    return dict(SETTINGS)


def quiet(server: Server) -> Iterator[Server]:
    """The server; at the end its log holds no token, no secret and no query."""
    yield from watched(server)
    log = server.log()
    assert "Bearer" not in log
    assert not any(made.split(".")[2] in log for made in minted)
    assert SECRET not in log
    assert "userId=" not in log


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Server]]:
    """One process of each kind, under the names of the transports that lead to it."""
    directory = tmp_path_factory.mktemp("servers")
    plain = daemon(directory / "plain", settings_in(directory / "plain"))
    certificate = make_certificate(directory)
    tls = daemon(directory / "tls", settings_in(directory / "tls"), certificate=certificate)
    alone = hypercorn_alone(directory / "hypercorn", settings_in(directory / "hypercorn"))
    with plain as plain_server, tls as tls_server, alone as alone_server:
        kinds = {"plain": plain_server, "kept-alive": plain_server, "tls": tls_server, "http2": tls_server}
        checks = [quiet(server) for server in (plain_server, tls_server, alone_server)]
        for check in checks:
            next(check)
        yield {**kinds, "hypercorn": alone_server}
        for check in checks:
            next(check, None)


@pytest.fixture(params=NAMES)
def transport(request: pytest.FixtureRequest, servers: Mapping[str, Server]) -> Transport:
    """Each transport in turn."""
    return make_transport(request.param, servers[request.param])


@pytest.fixture
def run() -> str:
    """A run of the test's own."""
    return new_run()


@contextmanager
def joined(
    transport: Transport, run: str, made: str | None, headers: Headers | None = None, **query: object
) -> Iterator[Peer]:
    """A client that is in for the length of the block."""
    peer = Peer(transport, socket_target(run, **query), [*([] if made is None else bearer(made)), *(headers or [])])
    try:
        yield peer
    finally:
        peer.wire.close()


def refusal(transport: Transport, run: str, headers: Headers, **query: object) -> tuple[int, dict[str, Any]]:
    """Status and problem of an upgrade that is refused."""
    with pytest.raises(Refused) as caught:
        Peer(transport, socket_target(run, **query), headers)
    assert_hardened(caught.value.headers, transport)
    return caught.value.status, caught.value.problem


def assert_hardened(headers: Mapping[str, str], transport: Transport) -> None:
    """What every answer carries."""
    assert headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers or transport.name == "hypercorn"


def admin(server: Server, path: str, body: Any = None) -> Any:
    """What an operator of this server is answered, with the token that `serve` wrote."""
    admin_token = (server_directory(server) / "data" / "admin.token").read_text().strip()
    with httpx.Client(base_url=server.url, verify=False, trust_env=False, headers=dict(bearer(admin_token))) as client:
        answer = client.get(path) if body is None else client.post(path, content=json.dumps(body))
    assert answer.status_code == 200, answer.text
    assert admin_token not in server.log()
    return answer.json()


def server_directory(server: Server) -> Path:
    """Where a server keeps its things."""
    return server._log_file.parent


# Who comes in


def test_a_token_comes_as_a_header_or_as_a_subprotocol(transport: Transport, run: str) -> None:
    """The second is how browsers send it; it is never selected and never echoed."""
    with joined(transport, run, token()) as peer:
        assert peer.welcome["userId"] == "ann"
    made = token()
    with joined(transport, run, None, [("sec-websocket-protocol", f"collabd.v1, bearer.{made}")]) as peer:
        assert peer.answer.headers["sec-websocket-protocol"] == "collabd.v1"
        assert made not in str(peer.answer)
    with joined(transport, run, None, [("sec-websocket-protocol", f"bearer.{made}")]) as peer:
        assert "sec-websocket-protocol" not in peer.answer.headers


def test_bad_tokens_are_refused_in_the_same_words(transport: Transport, run: str) -> None:
    """At a first upgrade and when resuming; a name in the query lets nobody in."""
    bad = [[], bearer("x"), bearer(token(lasts=-1)), bearer(token()[:-3] + "AAA"), [("authorization", "Basic eDp5")]]
    answers = [refusal(transport, run, headers, userId="ann") for headers in bad]
    answers += [refusal(transport, run, headers, epoch="e", afterSequence="0") for headers in bad[:2]]
    assert {status for status, _ in answers} == {401}
    assert len({json.dumps(problem) for _, problem in answers}) == 1


def test_rights_are_those_of_the_token(transport: Transport, run: str) -> None:
    """403 for another run, 400 under another name."""
    other = token(runs=[new_run()])
    assert refusal(transport, run, bearer(other))[1]["code"] == "forbidden"
    assert refusal(transport, run, bearer(token()), userId="bea")[1]["code"] == "user_mismatch"


# How long


def test_a_connection_lives_as_long_as_its_token(transport: Transport, run: str) -> None:
    """4401 within a second of its end; one that was renewed goes on."""
    short = token(lasts=1.5)
    expires = time.time() + 1.5
    with joined(transport, run, short) as ending, joined(transport, run, token(lasts=1.5, sub="bea")) as renewed:
        renewed.send("AUTH", {"token": token(sub="bea", lasts=60)})
        answer = renewed.wait_for("AUTH_OK")["data"]
        assert answer["expiresAt"] == pytest.approx((time.time() + 60) * 1000, abs=5_000)
        closed = ending.wait_closed()
        assert closed.code == 4401
        assert -0.05 <= time.time() - expires <= SOON_S
        renewed.tell("GRAFT", {"after": "A"}, "m1")
    status, problem = refusal(transport, run, bearer(short))
    assert (status, problem["code"]) == (401, "unauthorized")


@pytest.mark.parametrize(
    ("changed", "code", "answered"),
    [({"lasts": -1}, 4401, True), ({"sub": "bea"}, 4403, False), ({"runs": []}, 4403, False)],
)
def test_a_renewal_that_is_not_good_ends_the_connection(
    transport: Transport, run: str, changed: dict[str, Any], code: int, answered: bool
) -> None:
    """A bad token is an ERROR first."""
    with joined(transport, run, token()) as peer:
        peer.send("AUTH", {"token": token(**changed)})
        if answered:
            assert peer.wait_for("ERROR")["data"]["code"] == "unauthorized"
        assert peer.wait_closed().code == code


@pytest.mark.parametrize("by", ["sub", "jti"])
def test_a_revocation_is_in_force_within_a_second(transport: Transport, run: str, by: str) -> None:
    """For live connections, for coming back, and for nobody else."""
    name = f"{by}-{transport.name}"
    claim: dict[str, Any] = {by: name}
    made, other = token(**claim), token(sub="bea")
    with joined(transport, run, made) as peer, joined(transport, run, other) as staying:
        session = peer.welcome["sessionId"]
        start = time.monotonic()
        admin(transport.server, "/api/admin/tokens/revoke", {by: name})
        assert peer.wait_closed().code == 4401
        assert time.monotonic() - start <= SOON_S
        assert refusal(transport, run, bearer(made), sessionId=session)[0] == 401
        staying.tell("GRAFT", {"after": "A"}, "m1")


# Browsers


def test_an_unknown_name_is_refused(transport: Transport, run: str) -> None:
    """With a good token and a fitting Origin too: that is what DNS rebinding looks like."""
    if transport.name == "http2":
        connection = Http2Connection(transport.server)
        connection.host = "evil.example"
        wire = Http2Wire(transport.server, connection)
        answer = wire.upgrade(socket_target(run), [*bearer(token()), ("origin", "https://evil.example")])
        wire.close()
        assert (answer.status, json.loads(answer.body)["code"]) == (403, "origin_not_allowed")
        return
    headers = [*bearer(token()), ("host", "evil.example"), ("origin", "http://evil.example")]
    status, problem = refusal(transport, run, headers)
    assert (status, problem["code"]) == (403, "origin_not_allowed")


def test_pages_of_other_origins_are_refused(transport: Transport, run: str) -> None:
    """And listed ones let in."""
    for origin in ("null", "https://evil.example", f"{transport.server.scheme}://127.0.0.1:1"):
        status, problem = refusal(transport, run, [*bearer(token()), ("origin", origin)])
        assert (status, problem["code"]) == (403, "origin_not_allowed")
    for origin in ("https://app.example", transport.server.url):
        with joined(transport, run, token(), [("origin", origin)]):
            pass


# Limits, behind a proxy


def test_connections_count_for_the_forwarded_address(transport: Transport, run: str) -> None:
    """The rightmost that is no proxy, on every transport, and it is what operators see."""
    address = next(addresses)
    headers = [("x-forwarded-for", f"203.0.113.9, {address}")]
    with joined(transport, run, token(), headers), joined(transport, run, token(), headers):
        status, problem = refusal(transport, run, [*bearer(token()), *headers])
        assert (status, problem["code"]) == (429, "too_many_connections")
        with joined(transport, run, token(), [("x-forwarded-for", f"{address}, {next(addresses)}")]):
            report = admin(transport.server, f"/api/admin/websocket/connections/{run}")
            seen = [connection["remoteAddress"] for connection in report["connections"]]
            assert sorted(seen)[:ADDRESSES] == [address] * ADDRESSES or seen.count(address) == ADDRESSES


def test_upgrades_and_requests_share_a_rate(transport: Transport, run: str) -> None:
    """A burst, then 429 with Retry-After, on upgrades and on every route."""
    address = next(addresses)
    headers = [("x-forwarded-for", address)]
    statuses = []
    for _ in range(9):
        status, problem = refusal(transport, run, headers)
        statuses.append(status)
    assert statuses[:7] == [401] * 7
    assert statuses[-1] == 429
    assert problem["code"] == "rate_limited"
    with httpx.Client(base_url=transport.server.url, verify=False, trust_env=False) as client:
        answer = client.get("/api/client-config", headers=dict(headers))
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert_hardened(answer.headers, transport)


# Starting


def test_revocations_outlive_the_process(tmp_path: Path, run: str) -> None:
    """A token that was revoked is refused by the next process too."""
    settings = settings_in(tmp_path / "d")
    made = token(jti="gone")
    for is_first in (True, False):
        with daemon(tmp_path / "d", settings) as server:
            transport = make_transport("plain", server)
            if is_first:
                with joined(transport, run, made):
                    admin(server, "/api/admin/tokens/revoke", {"jti": "gone"})
            assert refusal(transport, run, bearer(made))[0] == 401
            server.terminate()
            assert server.wait_stopped() == 0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"SERVER__BIND": "0.0.0.0:0"}, 'where auth.mode "open" lets anyone in'),
        ({"AUTH__MODE": "jwt"}, "needs a key"),
        ({"AUTH__MODE": "jwt", "AUTH__KEY_ENV": "NOT_SET"}, "NOT_SET is not set"),
        ({"AUTH__MODE": "jwt", "AUTH__KEY_FILE": "weak"}, "too short a key"),
        ({"AUTH__MODE": "jwt", "AUTH__KEY_FILE": "public"}, "by everybody on this machine"),
        ({"ADMIN__TOKEN_FILE": "weak"}, "at least 16 characters"),
        ({"ADMIN__TOKEN_FILE": "public"}, "by everybody on this machine"),
    ],
)
def test_what_would_be_unsafe_does_not_start(tmp_path: Path, settings: dict[str, str], problem: str) -> None:
    """Exit status 2, in words, and without the secret."""
    (tmp_path / "weak").write_text("worth nothing")
    (tmp_path / "weak").chmod(0o600)
    (tmp_path / "public").write_text(SECRET)
    (tmp_path / "public").chmod(0o644)
    command = [sys.executable, "-m", "collabd", "serve"]
    with (
        pytest.raises(RuntimeError) as caught,
        running(command, tmp_path, {"SERVER__BIND": "127.0.0.1:0"} | settings),
    ):
        pass
    assert problem in str(caught.value)
    assert "worth nothing" not in str(caught.value)
