"""The table of scenarios (docs/client-behaviour.md) for the Python client, against the real server.

The client's time runs five times faster than the server's and the test's, so that half a minute without a network is
six seconds; nothing here waits for a time, but for what has to happen.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from collabd.client import Message, Run, StorageBlocked, open_run
from collabd.client.engine import Surroundings
from tests.scenarios.stage import staged, until

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(500)]  # time runs slower where it has to


@pytest.fixture
def fast_clock() -> MockClock:
    """Five seconds of the client in one of ours, at most: the stage slows it down on a busy machine."""
    return MockClock(rate=5.0)


def post(run: Run, count: int, start: int = 0) -> list[Message]:
    """Queue some messages."""
    return [run.send_nowait("FLAG", {"stepId": f"{run.user_id}{start + step}", "note": "n"}) for step in range(count)]


async def keep_sending(run: Run, messages: list[Message], count: int, pause_s: float = 0.1) -> None:
    """Queue messages one after the other."""
    for step in range(count):
        messages += post(run, 1, step)
        await trio.sleep(pause_s)


async def test_s1_a_server_killed_and_restarted_in_mid_stream(fast_clock: MockClock, tmp_path: Path) -> None:
    """S1: two senders write on while the server is gone; nothing acknowledged is lost, nothing is doubled."""
    async with staged(tmp_path) as stage, stage.open("ann") as ann, stage.open("bob") as bob:
        views = [stage.watch(ann), stage.watch(bob)]
        sent: dict[str, list[Message]] = {"ann": [], "bob": []}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending, ann, sent["ann"], 150)
            nursery.start_soon(keep_sending, bob, sent["bob"], 150)
            await until(lambda: len(views[0].numbers) >= 60)
            stage.daemon.kill()
            await stage.start_again()
        await stage.judge(sent, *views)
        await until(lambda: ann.health.state == "live")
        assert ann.health.reconnection_count >= 1
        assert not views[0].resets


async def test_s2_half_a_minute_without_network_with_fifty_messages_queued(
    fast_clock: MockClock, tmp_path: Path
) -> None:
    """S2: they wait, and go out in order on return."""
    async with staged(tmp_path) as stage, stage.open("ann") as ann, stage.open("bob") as bob:
        views = [stage.watch(ann), stage.watch(bob)]
        early = post(ann, 3)
        for message in early:
            await message.wait_committed()
        stage.proxy.refuse()
        stage.proxy.cut()
        await until(lambda: ann.health.state != "live")
        waiting = post(ann, 50, 3)
        gone_at = trio.current_time()
        await until(lambda: trio.current_time() >= gone_at + 30)
        assert {message.state for message in waiting} == {"queued"}
        await stage.proxy.heal()
        await stage.judge({"ann": early + waiting}, *views)


async def test_s3_a_proxy_that_ends_every_websocket_is_got_round_and_left_again(
    fast_clock: MockClock, tmp_path: Path
) -> None:
    """S3: fallback by itself, return by itself, and the same events in the same order all along."""
    async with staged(tmp_path) as stage, stage.open("ann") as ann, stage.open("bob") as bob:
        views = [stage.watch(ann), stage.watch(bob)]
        sent: dict[str, list[Message]] = {"ann": [], "bob": []}
        stage.proxy.close_websockets_after(0.2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending, ann, sent["ann"], 60, 0.5)
            nursery.start_soon(keep_sending, bob, sent["bob"], 60, 0.5)
            await until(lambda: ann.using_fallback and bob.using_fallback)
            session = ann.session_id
        await until(lambda: not any(message.state != "committed" for message in sent["ann"]))
        assert ann.health.reconnection_count >= 4
        await stage.proxy.heal()
        await until(lambda: ann.health.state == "live" and bob.health.state == "live")
        sent["ann"] += post(ann, 10, 60)
        await stage.judge(sent, *views)
        assert ann.session_id == session
        assert ann.active_users == ("ann", "bob")


@pytest.mark.parametrize("over_http", [False, True])
async def test_s4_answers_lost_after_the_commit(fast_clock: MockClock, tmp_path: Path, over_http: bool) -> None:
    """S4: what was committed without our knowing is sent again and is there once."""
    async with staged(tmp_path) as stage, stage.open("ann") as ann:
        view = stage.watch(ann)
        if over_http:
            stage.proxy.close_websockets_after(0.05)
            await until(lambda: ann.using_fallback)
        stage.proxy.mute()
        sent = post(ann, 20)
        for _ in range(2000):
            if len(await stage.log()) == 20:
                break
        assert {message.state for message in sent} <= {"sent", "queued"}
        await stage.proxy.heal()
        stage.proxy.cut()
        await stage.judge({"ann": sent}, view)
        assert all(message.ack is not None and message.ack.duplicate for message in sent)


CRASHING = """
import sys, trio
from collabd.client import open_run

async def main(url, run_id, path):
    async with open_run(url, run_id, user_id="ann", queue_file=path, start_offline=True) as run:
        for step in range(50):
            print(run.send_nowait("FLAG", {"stepId": str(step), "note": "n"}).client_message_id)
        sys.stdout.flush()
        await trio.sleep_forever()

trio.run(main, *sys.argv[1:])
"""


async def test_s5_s6_a_crashed_process_leaves_its_queue_to_the_next(fast_clock: MockClock, tmp_path: Path) -> None:
    """S5, S6: while it lives no other process may have the queue; killed, the next one sends it, same ids, once."""
    path = tmp_path / "queue"
    async with staged(tmp_path) as stage:
        stage.proxy.mute()  # so that some may be committed before the crash without the process knowing
        child = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", CRASHING, stage.url, stage.run_id, str(path)], stdout=subprocess.PIPE, text=True
        )
        with child:
            assert child.stdout is not None
            ids = [(await trio.to_thread.run_sync(child.stdout.readline)).strip() for _ in range(50)]
            with pytest.raises(StorageBlocked, match="another process"):
                async with stage.open("ann", queue_file=path):
                    raise AssertionError("never opened")
            child.kill()
        stage.proxy.cut()
        await stage.proxy.heal()
        async with stage.open("ann", queue_file=path) as ann:
            view = stage.watch(ann)
            await until(lambda: ann.queued_message_count == 0)
            log = await stage.judge({}, view) if not ids else await stage.log()
            assert [event["clientMessageId"] for event in log] == ids
            await until(lambda: view.numbers == list(range(1, 51)))


@pytest.mark.parametrize("hours", [-1, 1])
async def test_s8_a_wall_clock_that_jumps(fast_clock: MockClock, tmp_path: Path, hours: int) -> None:
    """S8: nobody notices."""
    jumped = 0.0

    def wall() -> float:
        return trio.current_time() + 1.7e9 + jumped

    async with staged(tmp_path) as stage, stage.open("ann", surroundings=Surroundings(wall=wall)) as ann:
        view = stage.watch(ann)
        sent: list[Message] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending, ann, sent, 100)
            await until(lambda: len(view.numbers) >= 30)
            jumped = hours * 3600.0
        await stage.judge({"ann": sent}, view)
        assert ann.health.reconnection_count == 0


async def test_s9_sleep_and_wake(fast_clock: MockClock, tmp_path: Path) -> None:
    """S9: on waking the dead connection is found at once, although the network never said that it ended."""
    slept = 0.0

    def wall() -> float:
        return trio.current_time() + 1.7e9 + slept

    async with (
        staged(tmp_path) as stage,
        stage.open("ann", surroundings=Surroundings(wall=wall)) as ann,
        open_run(stage.daemon.url, stage.run_id, user_id="bob") as bob,
    ):
        views = [stage.watch(ann), stage.watch(bob)]
        mine = post(ann, 5)
        await until(lambda: len(views[0].numbers) == 5)
        stage.proxy.half_open()
        theirs = post(bob, 20)
        await until(lambda: len(views[1].numbers) == 25)
        slept = 3600.0
        woken_at = trio.current_time()
        mine += post(ann, 5, 5)
        await stage.judge({"ann": mine, "bob": theirs}, *views)
        assert trio.current_time() - woken_at < 15
        assert ann.health.reconnection_count == 1


async def test_s10_an_orderly_restart(fast_clock: MockClock, tmp_path: Path) -> None:
    """S10: drained, told when to come back, and resumed."""
    async with staged(tmp_path) as stage, stage.open("ann") as ann, stage.open("bob") as bob:
        views = [stage.watch(ann), stage.watch(bob)]
        sent: dict[str, list[Message]] = {"ann": [], "bob": []}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending, ann, sent["ann"], 150)
            nursery.start_soon(keep_sending, bob, sent["bob"], 150)
            await until(lambda: len(views[0].numbers) >= 60)
            assert await trio.to_thread.run_sync(stage.daemon.stop) == 0
            await stage.start_again()
        await stage.judge(sent, *views)
        assert not views[0].resets


async def test_s11_a_replaced_database_is_a_reset(fast_clock: MockClock, tmp_path: Path) -> None:
    """S11: told once, with the new state, and what waits is committed to the new history."""
    async with staged(tmp_path) as stage, stage.open("ann") as ann:
        view = stage.watch(ann)
        for message in post(ann, 5):
            await message.wait_committed()
        await until(lambda: len(view.numbers) == 5)
        stage.daemon.kill()
        await until(lambda: ann.health.state != "live")
        waiting = post(ann, 5, 5)
        await stage.start_again(tmp_path / "other")
        await until(lambda: view.resets)
        await stage.judge({"ann": waiting}, view)
        assert [reset.reason for reset in view.resets] == ["epoch_changed"]


async def test_a_stalled_network_is_noticed_and_survived(fast_clock: MockClock, tmp_path: Path) -> None:
    """Nothing passes and nothing ends: the silence is noticed after two heartbeats."""
    async with staged(tmp_path) as stage, stage.open("ann") as ann, stage.open("bob") as bob:
        views = [stage.watch(ann), stage.watch(bob)]
        sent = post(ann, 5)
        await until(lambda: len(views[1].numbers) == 5)
        stage.proxy.stall()
        sent += post(ann, 30, 5)
        await until(lambda: ann.health.state != "live" and bob.health.state != "live")
        await stage.proxy.heal()
        await stage.judge({"ann": sent}, *views)


async def test_a_slow_network_only_costs_time(fast_clock: MockClock, tmp_path: Path) -> None:
    """Every byte 20 ms later, connections cut again and again: order and once-only hold."""
    async with staged(tmp_path) as stage, stage.open("ann") as ann, stage.open("bob") as bob:
        stage.proxy.delay(0.02)
        views = [stage.watch(ann), stage.watch(bob)]
        sent: dict[str, list[Message]] = {"ann": [], "bob": []}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_sending, ann, sent["ann"], 100, 0.2)
            nursery.start_soon(keep_sending, bob, sent["bob"], 100, 0.2)
            for count in (20, 60, 100, 140):
                await until(lambda count=count: len(views[0].numbers) >= count)
                stage.proxy.cut()
        await stage.judge(sent, *views)


async def test_a_run_longer_than_the_log_keeps_is_followed_without_a_reset(
    fast_clock: MockClock, tmp_path: Path
) -> None:
    """A client that stays connected sees every event, however much is trimmed behind it."""
    async with staged(tmp_path) as stage, stage.open("ann") as ann, stage.open("bob") as bob:
        view = stage.watch(bob)
        for start in range(0, 1500, 500):
            for message in post(ann, 500, start):
                await message.wait_committed()
        await until(lambda: len(view.numbers) == 1500)
        assert view.numbers == list(range(1, 1501))
        assert not view.resets


def test_the_command_line_sends_tails_and_replays(tmp_path: Path) -> None:
    """`collabd send`, `tail` and `replay` against the real server: real output, real exit statuses."""
    from tests.support.daemon import running_daemon

    run_id = "8f14e45f-ceea-467f-9c2b-0a1b2c3d4e5f"

    def collabd(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "collabd", *arguments, "--url", url],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    with running_daemon(tmp_path / "data") as daemon:
        url = daemon.url
        graft = '{"after":"ARCHITECT","agentName":"security-scanner-v1"}'
        sent = collabd("send", run_id, "GRAFT", graft, "--user", "ann")
        assert (sent.returncode, sent.stdout, sent.stderr) == (0, "1\n", "")
        assert collabd("send", run_id, "FLAG", '{"stepId":"s","note":"n"}').stdout == "2\n"
        tailed = collabd("tail", run_id, "--count", "1")
        assert tailed.stdout.split()[:1] == ["1"]
        assert graft in tailed.stdout
        line = json.loads(collabd("tail", run_id, "--from", "2", "--count", "1", "--json").stdout)
        assert (line["sequenceNumber"], line["eventType"]) == (2, "FLAG")
        assert len(collabd("replay", run_id).stdout.splitlines()) == 2
        assert collabd("replay", run_id, "--type", "FLAG", "--limit", "5").stdout.split()[0] == "2"
        refused = collabd("send", run_id, "PING", "{}")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert collabd("send", "nope", "GRAFT", "{}").returncode == 2
        assert collabd("send", run_id, "GRAFT", "{bad").returncode == 2
    gone = collabd("replay", run_id)
    assert (gone.returncode, gone.stdout, gone.stderr.count("\n")) == (1, "", 1)
    assert "is the server running" in gone.stderr


def test_ctrl_c_ends_tail_without_a_word(tmp_path: Path) -> None:
    """Interrupted as a shell does it: the shell's status, what was shown, no traceback."""
    from tests.support.daemon import running_daemon

    run_id = "8f14e45f-ceea-467f-9c2b-0a1b2c3d4e5f"
    message = {"eventType": "FLAG", "data": {"stepId": "s", "note": "n"}, "clientMessageId": "m1"}
    with running_daemon(tmp_path / "data") as daemon:
        daemon.request(f"/api/runs/{run_id}/collaboration/events?userId=ann", message)
        command = [sys.executable, "-u", "-m", "collabd", "tail", run_id, "--url", daemon.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None
            assert tail.stderr is not None
            shown = tail.stdout.readline()
            tail.send_signal(signal.SIGINT)
            assert tail.wait(10) == 130
            assert tail.stdout.read() + tail.stderr.read() == ""
    assert shown.split()[0] == "1"
