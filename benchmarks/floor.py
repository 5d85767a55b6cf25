"""The floor under any server here: what one `send` on loopback TCP costs, and one `fsync`.

Law: no protocol, no event loop; a burst of writes to 100 sockets from Python, read by another process in big chunks.
CPU time is the sending thread's own, kernel included (on loopback the sender also pays for the receiving side's TCP).
"""

import os
import select
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.paths import CACHE

MEMBERS = 100
BURSTS = 400


@contextmanager
def drained_sockets(count: int) -> Iterator[list[socket.socket]]:
    """Connected loopback sockets whose other ends a child process reads and throws away."""
    with socket.create_server(("127.0.0.1", 0), backlog=count) as listener:
        far = [socket.create_connection(listener.getsockname()) for _ in range(count)]
        near = [listener.accept()[0] for _ in range(count)]
    child = os.fork()
    if child == 0:
        drain(far, near)
    for end in far:
        end.close()
    try:
        for end in near:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield near
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in near:
            end.close()


def drain(far: list[socket.socket], near: list[socket.socket]) -> None:
    """The child: read everything, for a minute at most, and never return."""
    for end in near:
        end.close()
    poller = select.epoll()
    by_fd = {end.fileno(): end for end in far}
    for fd in by_fd:
        poller.register(fd, select.EPOLLIN)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for fd, _ in poller.poll(1):
            if not by_fd[fd].recv(1 << 20):
                os._exit(0)
    os._exit(0)


def send_cost_us(size: int) -> float:
    """The median CPU time of one `send` of `size` bytes, in microseconds, in bursts to 100 sockets."""
    data = b"x" * size
    costs = []
    with drained_sockets(MEMBERS) as sockets:
        for _ in range(BURSTS):
            begun = time.thread_time_ns()
            for end in sockets:
                end.send(data)
            costs.append((time.thread_time_ns() - begun) / MEMBERS / 1000)
            time.sleep(0.001)
    return statistics.median(costs)


def fsync_ms() -> float:
    """The median time of appending 4 kB to a file on the project's disk and syncing it, in milliseconds."""
    times = []
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=CACHE) as file:
        for _ in range(100):
            file.write(b"x" * 4096)
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def table() -> dict[int, float]:
    """Bytes written at once → µs of CPU for one write."""
    return {size: send_cost_us(size) for size in (100, 200, 3200, 6400, 16_000, 64_000)}


if __name__ == "__main__":
    for size, cost in table().items():
        print(f"{size:6} bytes: {cost:6.2f} µs a write")
    print(f"fsync: {fsync_ms():.2f} ms")
