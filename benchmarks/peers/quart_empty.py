"""An empty Quart-Trio route on Hypercorn: the floor under every HTTP answer of collabd."""

import socket

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

app = QuartTrio(__name__)


@app.get("/")
async def empty() -> dict[str, object]:
    """The smallest JSON answer."""
    return {}


async def main() -> None:
    """Serve on a free port until killed."""
    config = Config()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    config.bind = [f"fd://{listener.fileno()}"]
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_app, config)
        print(f"ready at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)


async def serve_app(config: Config, task_status: trio.TaskStatus[None]) -> None:
    """Hypercorn says when it listens through its own task status."""
    await serve(app, config, task_status=task_status)  # type: ignore[arg-type]


trio.run(main)
