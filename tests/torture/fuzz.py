"""Hostile bytes: the parts that read what strangers send, by themselves and in the real process.

    python -m tests.torture fuzz [--target NAME] [--seconds 600] [--seed S]

Law of this file: a target takes any bytes, and raises only when a promise was broken. Where atheris is installed
(`pip install atheris`) it looks for new paths through the code; otherwise, and for the real process, bytes are made
from good examples by a seeded mutator, which says so.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final, cast
from unittest.mock import patch

from collabd.config import load_config
from collabd.errors import ConfigError, ProtocolError
from collabd.gateway import reader
from collabd.gateway.handshake import Upgrade, refusal
from collabd.gateway.head import Kind, tell_kind
from collabd.protocol.addresses import Proxies
from collabd.protocol.codec import event_payload, split_frames, text_frame
from collabd.protocol.messages import ClientMessage, Intake
from collabd.protocol.requests import parse_join, parse_poll, parse_query, parse_replay
from tests.support.daemon import running_daemon
from tests.torture.oracle import Broken
from tests.torture.watch import OBSERVED, Window
from tests.transports.frames import BINARY, CLOSE, PING, TEXT, client_frame, close_payload, fragments

INTAKE: Final = Intake(critical=["GRAFT"], persisted=["NOTE"], state_keys={"GRAFT": "after"})
MAX_BYTES: Final = 65536
RUN: Final = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d"

GRAFT = b'{"eventType":"GRAFT","data":{"after":"A","n":[1,-2.5e3,"\xc3\xa9\\u00e9"]},"clientMessageId":"m-1"}'
UPGRADE = (
    f"GET /ws/runs/{RUN}/collaboration?userId=ann&afterSequence=1&epoch=e HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nOrigin: http://127.0.0.1\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: collabd.v1, bearer.eyJ\r\n"
    "Sec-WebSocket-Extensions: permessage-deflate\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n"
).encode()
FRAMES = (
    client_frame(TEXT, GRAFT)
    + client_frame(PING, b"p")
    + fragments(BINARY, GRAFT[:20], b"", GRAFT[20:])
    + client_frame(TEXT, b'{"eventType":"PING","data":{"sentAt":1}}', long_form=2)
    + client_frame(CLOSE, close_payload(1000, b"bye"))
)
PUBLISH = (
    f"POST /api/runs/{RUN}/collaboration/events?userId=ann HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(GRAFT)}\r\n\r\n"
).encode() + GRAFT
CHUNKED = (
    (
        f"POST /api/runs/{RUN}/collaboration/events?userId=ann HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n{len(GRAFT):x}\r\n"
    ).encode()
    + GRAFT
    + b"\r\n0\r\n\r\n"
)
POLL = f"GET /api/runs/{RUN}/collaboration/poll?afterSequence=0&limit=10&wait=5 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
REPLAY = f"GET /api/runs/{RUN}/collaboration/replay?criticalOnly=true HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
SETTINGS_FILE = (Path(__file__).parents[2] / "collabd.toml").read_bytes().replace(b"\n#", b"\n")


def fuzz_message(data: bytes) -> None:
    """A client's message is refused as such, or becomes an envelope that everyone's parser takes."""
    try:
        data.decode()
        message = INTAKE.decode(data)
    except (UnicodeDecodeError, ProtocolError):
        return
    if isinstance(message, ClientMessage):
        payload = event_payload(
            event_type=message.kind.name,
            user_json=b'"ann"',
            timestamp=1,
            sequence_number=1,
            data=message.data,
            critical=message.kind.critical,
            client_message_id=message.client_message_id,
        )
        assert json.loads(payload, parse_constant=_no_constant)["data"] == json.loads(message.data)
        assert split_frames(text_frame(payload)) == [(TEXT, payload)]


def _no_constant(name: str) -> None:
    raise Broken(f"{name} is no JSON, and was let through")


class _Told:
    """Stands for a connection: what a reader hands on and answers."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.frames = b""
        self.stage = 0
        self.last_heard = 0.0
        self.ping_number = self.ping_answered = 0
        self.ping_sent = 0.0

    def tell(self, frame: bytes) -> None:
        """Note an answer."""
        self.frames += frame


def _read(pieces: list[bytes]) -> tuple[list[bytes], bytes, object]:
    told = _Told()
    subject = reader.FrameReader(MAX_BYTES, cast(Any, told))
    with patch.multiple(reader, receive=lambda _, text: told.messages.append(text), take_pong=lambda *_: None):
        for piece in pieces:
            if not subject.feed(piece, 0.0):
                break
    return told.messages, told.frames + subject.last_words, subject.close_code()


def fuzz_frames(data: bytes) -> None:
    """However the bytes of a WebSocket are cut, the same messages come out, and the same end."""
    if len(data) < 2:
        return
    size, data = 1 + data[0], data[1:]
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    whole, cut = _read([data]), _read(pieces)
    if whole != cut:
        raise Broken(f"in pieces of {size}: {cut}, in one: {whole}")
    for message in whole[0]:
        message.decode()


def fuzz_head(data: bytes) -> None:
    """A connection's first bytes are told apart, and an upgrade is accepted or refused with a whole HTTP answer."""
    kind, end = tell_kind(data, 16384)
    if kind is not Kind.WEBSOCKET:
        return
    upgrade = Upgrade(
        data[:end], data[end:], peer="127.0.0.1", scheme="http", proxies=Proxies(()), max_message_bytes=MAX_BYTES
    )
    if upgrade.refused is None:
        assert b"extensions" not in upgrade.accept().lower()
        _ = upgrade.path, upgrade.query
    else:
        head, _, body = refusal(upgrade.refused).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 4")
        assert json.loads(body)["status"] < 500


def fuzz_query(data: bytes) -> None:
    """A query is read or refused."""
    run_id, _, query = data.partition(b" ")
    for parse in (parse_poll, parse_replay, lambda asked: parse_join(run_id.decode("latin-1"), asked)):
        with contextlib.suppress(ProtocolError):
            parse(parse_query(query))


def fuzz_configuration(data: bytes) -> None:
    """Any file is a configuration or a list of problems, each on one line."""
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        try:
            load_config(Path(file.name), {"HOME": "/nonexistent"})
        except ConfigError as error:
            for problem in error.problems:
                assert problem.isprintable(), problem


TARGETS: Final[dict[str, tuple[Callable[[bytes], None], list[bytes]]]] = {
    "message": (fuzz_message, [GRAFT, b'{"eventType":"PING","data":{"sentAt":[1],"lastSequence":2}}']),
    "frames": (fuzz_frames, [b"\x05" + FRAMES, b"\x00" + FRAMES]),
    "head": (fuzz_head, [UPGRADE + FRAMES, PUBLISH, POLL.encode()]),
    "query": (fuzz_query, [f"{RUN} userId=ann&afterSequence=1&epoch=e&limit=3&wait=9&criticalOnly=true".encode()]),
    "configuration": (fuzz_configuration, [SETTINGS_FILE, *SETTINGS_FILE.split(b"\n\n")]),
}


_IDLE_S: Final = 6.5
"""Longer than it takes until an idle run is looked at, every five seconds, and closed."""


_BAD_WORDS: Final = (b"\r\n", b"\0", b"\xff", b"\xed\xa0\x80", b'"', b"99999999999", b"[" * 40)


def mutated(good: bytes, random: Random) -> bytes:
    """Some good bytes with a few things wrong."""
    data = bytearray(good)
    for _ in range(random.choice((0, 1, 1, 2, 4, 16))):
        place = random.randrange(len(data) + 1)
        end = min(len(data), place + random.choice((1, 2, 4, 30)))
        kind = random.randrange(6)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << random.randrange(8)
        elif kind == 1:
            del data[place:end]
        elif kind == 2:
            data[place:place] = data[place:end] * random.choice((1, 3, 50))
        elif kind == 3:
            data[place:end] = random.randbytes(end - place)
        elif kind == 4:
            data[place:place] = random.choice(_BAD_WORDS)
        else:
            del data[place:]
    return bytes(data)


def fuzz(name: str, seconds: float, seed: int) -> int:
    """Give a target mutated bytes for so many seconds; answers how many. Raises what it raises, with the bytes."""
    target, examples = TARGETS[name]
    random, count, until = Random(seed), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        data = mutated(random.choice(examples), random)
        try:
            target(data)
        except Exception as error:
            raise Broken(f"{name}: {error!r} for {data!r} (seed {seed})") from error
        count += 1
    return count


def fuzz_process(seconds: float, seed: int, data_dir: Path) -> dict[str, Any]:
    """Mutated requests and frames in any slices to the real process: no 500, no traceback, no end, no leak."""
    random, said = Random(seed), Counter[str]()
    examples = [UPGRADE + FRAMES, UPGRADE + FRAMES * 3, PUBLISH, CHUNKED, POLL.encode(), REPLAY.encode() + PUBLISH]
    settings = {"SERVER__HANDSHAKE_TIMEOUT_S": "1", "LOGGING__LEVEL": "warning"}
    with running_daemon(
        data_dir, settings | {"RUNS__IDLE_CLOSE_S": "1", "PRESENCE__GRACE_S": "1"}, command=OBSERVED
    ) as it:
        window = Window(it, data_dir)
        for example in examples:  # so that everything that is opened once is open
            _offer(it.port, [example], said)
        before, until = _rested(window, None), time.monotonic() + seconds
        while time.monotonic() < until:
            data = mutated(random.choice(examples), random)
            size = random.choice((1, 7, 100, 70000))
            answer = _offer(it.port, [data[start : start + size] for start in range(0, len(data), size)], said)
            if b"Traceback" in answer or answer.startswith(b"HTTP/1.1 500"):
                raise Broken(f"{answer[:300]!r} to {data!r} (seed {seed})")
            if it.process.poll() is not None:
                raise Broken(f"the process ended with {it.process.returncode} after {data!r} (seed {seed})")
        after = _rested(window, before)
        if it.request("/actuator/health") != (200, {"status": "UP"}) or it.stop() != 0:
            raise Broken(f"not well at the end (seed {seed})")
        log = it.log.read_text()
        if "Traceback" in log or " ERROR " in log:
            raise Broken(f"seed {seed}: {log[:2000]}")
    return {
        "offered": said.total(),
        "answers": dict(said),
        "tasks": [before[0], after[0]],
        "descriptors": [before[1], after[1]],
    }


def _offer(
    port: int,
    pieces: list[bytes],
    said: Counter[str],
) -> bytes:
    """Send pieces, say that this is all, and take what comes until the server ends the connection too."""
    received = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces[:400]:
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(1.0)
        while data := sock.recv(65536):
            received += data
    said[received[9:12].decode("latin-1") or "nothing"] += 1
    return received


def _rested(window: Window, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """Tasks and descriptors once they are as few as wanted, or idle runs have left memory. Raises Broken."""
    deadline, seen, since = time.monotonic() + 60, (0, 0), time.monotonic()
    while True:
        now = (window.ask_now("look")["tasks"], sum("/collabd.sqlite3" not in name for name in window.descriptors()))
        if now != seen:
            seen, since = now, time.monotonic()
        if wanted is None and time.monotonic() - since > _IDLE_S:
            return now
        if wanted is not None and now[0] <= wanted[0] and now[1] <= wanted[1]:
            return now
        if time.monotonic() > deadline:
            raise Broken(f"left over: {now} tasks and descriptors, before there were {wanted}")


def _guided(name: str, seconds: float) -> int:
    """Let atheris drive a target in a process of its own; answers its exit status."""
    program = (
        "import sys, atheris\n"
        "with atheris.instrument_imports(include=['collabd', 'websockets']):\n"
        "    from tests.torture import fuzz\n"
        f"atheris.Setup(sys.argv, fuzz.TARGETS[{name!r}][0])\natheris.Fuzz()\n"
    )
    with tempfile.TemporaryDirectory() as corpus:
        for number, example in enumerate(TARGETS[name][1]):
            (Path(corpus) / f"example{number}").write_bytes(example)
        limits = [f"-max_total_time={int(seconds)}", "-max_len=4096", f"-artifact_prefix={tempfile.gettempdir()}/"]
        return subprocess.run([sys.executable, "-c", program, *limits, corpus], check=False).returncode


def main(arguments: list[str]) -> int:
    """Fuzz all targets or one, and the real process."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture fuzz", description=__doc__)
    parser.add_argument("--target", choices=[*TARGETS, "process"])
    parser.add_argument("--seconds", type=float, default=600, help="for each target")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    options = parser.parse_args(arguments)
    guided = importlib.util.find_spec("atheris") is not None
    print(f"fuzz: --seed {options.seed}, {'by atheris' if guided else 'atheris is not installed: mutations only'}")
    for name in [options.target] if options.target else [*TARGETS, "process"]:
        try:
            if name == "process":
                with tempfile.TemporaryDirectory(prefix="collabd-fuzz-") as place:
                    print(
                        name, json.dumps(fuzz_process(options.seconds, options.seed, Path(place) / "data")), flush=True
                    )
            elif guided:
                if _guided(name, options.seconds):
                    return 1
            else:
                print(name, fuzz(name, options.seconds, options.seed), "inputs", flush=True)
        except Broken as broken:
            print(f"BROKEN: {broken}", file=sys.stderr)
            return 1
    return 0
