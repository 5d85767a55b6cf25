"""The bundled web client: static files built ahead from web/. Law of this file: it serves files, and only those.

The Content-Security-Policy allows nothing but this server's own files and connections. Files below assets/ have their
content's digest in their name and may be kept for ever; everything else is asked for anew and answered 304 while it is
unchanged (RFC 9110, section 13.1.2). Scripts with lasting names are for pages of any origin: the client library and
the health element.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

from quart import Blueprint, Response, request
from werkzeug.routing import PathConverter

from collabd.errors import ProtocolError
from collabd.protocol.names import parse_run_id

if TYPE_CHECKING:
    from collabd.hub.hub import Hub

CLIENT_DIR: Final = Path(__file__).parent.parent / "web_client"
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_ANEW: Final = "no-cache"
# Not the system's table of types: a module script of another type is refused by browsers.
_CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_NOT_BUILT: Final = b"""<!doctype html><html lang="en"><title>collabd</title>
<h1>collabd is running</h1>
<p>The web client is not part of this checkout's build. Build it with <code>npm ci</code> and
<code>npm run build</code> in <code>web/</code>; the HTTP and WebSocket interfaces work without it.</p></html>
"""


class StaticFile(NamedTuple):
    """One file, read at the start and served from memory: what is served cannot be led outside of it."""

    body: bytes
    content_type: str
    etag: str
    cache_control: str

    @classmethod
    def named(cls, name: str, body: bytes) -> StaticFile:
        """The file of this name below the client's directory."""
        kind = _CONTENT_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
        return cls(body, kind, hashlib.sha256(body).hexdigest()[:32], cache_control_of(name))


def cache_control_of(name: str) -> str:
    """How long a file of this name may be kept without asking."""
    return _FOR_EVER if name.startswith("assets/") else _ASK_ANEW


class _FileName(PathConverter):
    """Any path but those of the interfaces, where a wrong method has to stay a 405 and must not become a 404."""

    regex = r"(?!(?:api|ws|actuator)/)[^/].*?"


def web_client_routes(hub: Hub, directory: Path = CLIENT_DIR) -> Blueprint:
    """The pages and their files. `directory` holds the built client; without it the pages say how to build it."""
    routes = Blueprint("web_client", __name__)
    routes.record(lambda state: state.app.url_map.converters.update(file_name=_FileName))
    files = load_files(directory)
    not_built = StaticFile.named("index.html", _NOT_BUILT)

    async def page(name: str, status: int = 200) -> Response:
        return await _answer(files.get(name, not_built), status, {"content-security-policy": CONTENT_SECURITY_POLICY})

    @routes.get("/")
    async def lobby() -> Response:
        return await page("index.html")

    @routes.get("/runs/<run_id>")
    async def run_page(run_id: str) -> Response:
        # The page itself says what is wrong with the link; a person reads it, so it is no problem+json.
        return await page("run.html", 200 if _is_run_id(run_id) else 404)

    @routes.get("/admin")
    async def console() -> Response:
        return await page("admin.html")

    @routes.get("/<file_name:name>")
    async def file(name: str) -> Response:
        found = files.get(name)
        if found is None or name.endswith(".html"):
            raise ProtocolError("not_found", "there is nothing at this path")
        for_others = {"access-control-allow-origin": "*"} if _is_for_other_pages(name) else {}
        return await _answer(found, 200, for_others)

    return routes


def _is_for_other_pages(name: str) -> bool:
    return "/" not in name and name.endswith(".js")


def load_files(directory: Path) -> dict[str, StaticFile]:
    """All files of the built client by their path; none where it is not built."""
    paths = [path for path in directory.rglob("*") if path.is_file()] if directory.is_dir() else []
    names = {path.relative_to(directory).as_posix(): path for path in paths}
    return {name: StaticFile.named(name, path.read_bytes()) for name, path in names.items()}


async def _answer(file: StaticFile, status: int, headers: dict[str, str]) -> Response:
    response = Response(file.body, status=status, content_type=file.content_type, headers=headers)
    response.headers["cache-control"] = file.cache_control
    if status == 200:
        response.set_etag(file.etag)
        await response.make_conditional(request)
    return response


def _is_run_id(text: str) -> bool:
    try:
        parse_run_id(text)
    except ProtocolError:
        return False
    return True
