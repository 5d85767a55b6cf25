"""uWebSockets' own pub/sub through socketify: one topic a room, everything published comes back to all.

Law: as little Python as socketify allows. uWebSockets itself joins what one loop turn publishes into one write each.
"""

import sys
from typing import Any

from socketify import App, CompressOptions, OpCode  # type: ignore[import-not-found]


def upgrade(res: Any, req: Any, socket_context: Any) -> None:
    """Keep the room's name, which is the path's last part, with the socket."""
    room = req.get_url().rsplit("/", 1)[1]
    key = req.get_header("sec-websocket-key")
    protocol = req.get_header("sec-websocket-protocol")
    extensions = req.get_header("sec-websocket-extensions")
    res.upgrade(key, protocol, extensions, socket_context, room)


def opened(ws: Any) -> None:
    """A member joins its room's topic."""
    ws.subscribe(ws.get_user_data())


def message(ws: Any, data: str, opcode: int) -> None:
    """What a member sends goes to the topic, itself included."""
    app.publish(ws.get_user_data(), data, OpCode.TEXT)


app = App()
app.ws(
    "/*",
    {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": 1 << 20,
        "max_backpressure": 64 << 20,
        "idle_timeout": 960,
        "upgrade": upgrade,
        "open": opened,
        "message": message,
    },
)
port = int(sys.argv[1])
app.listen({"port": port, "host": "127.0.0.1"}, lambda config: None)
app.run()
