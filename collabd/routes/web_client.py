"""The bundled web client: static files built ahead from web/. Law of this file: it serves files, and only those.

The Content-Security-Policy allows nothing but this server's own files and connections.
"""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quart import Blueprint, Response

from collabd.errors import ProtocolError
from collabd.protocol.names import parse_run_id

if TYPE_CHECKING:
    from collabd.hub.hub import Hub

CLIENT_DIR: Final = Path(__file__).parent.parent / "web_client"
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_NOT_BUILT: Final = b"""<!doctype html><html lang="en"><title>collabd</title>
<h1>collabd is running</h1>
<p>The web client is not part of this checkout's build. Build it with <code>npm ci</code> and
<code>npm run build</code> in <code>web/</code>; the HTTP and WebSocket interfaces work without it.</p></html>
"""


def web_client_routes(hub: Hub) -> Blueprint:
    """The pages and their files."""
    routes = Blueprint("web_client", __name__)
    files = _load_files(CLIENT_DIR)

    @routes.get("/")
    async def lobby() -> Response:
        return _page(files.get("index.html", _NOT_BUILT))

    @routes.get("/runs/<run_id>")
    async def run_page(run_id: str) -> Response:
        parse_run_id(run_id)
        return _page(files.get("run.html", files.get("index.html", _NOT_BUILT)))

    @routes.get("/admin")
    async def console() -> Response:
        return _page(files.get("admin.html", files.get("index.html", _NOT_BUILT)))

    @routes.get("/<path:name>")
    async def file(name: str) -> Response:
        body = files.get(name)
        if body is None or name.endswith(".html"):
            raise ProtocolError("not_found", "there is nothing at this path")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(body, content_type=kind, headers={"cache-control": "no-cache"})

    return routes


def _load_files(directory: Path) -> dict[str, bytes]:
    """All files of the built client, read once: what is served cannot be led outside of it."""
    if not directory.is_dir():
        return {}
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def _page(body: bytes) -> Response:
    headers = {"content-security-policy": CONTENT_SECURITY_POLICY, "cache-control": "no-cache"}
    return Response(body, content_type="text/html; charset=utf-8", headers=headers)
