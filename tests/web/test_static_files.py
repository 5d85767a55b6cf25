"""How the built pages and their files are served, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from quart.typing import TestClientProtocol as Client
from quart_trio import QuartTrio

from collabd.errors import ProtocolError
from collabd.routes.answers import problem_response
from collabd.routes.web_client import CONTENT_SECURITY_POLICY, web_client_routes

RUN = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d"
FILES = {
    "index.html": "lobby",
    "run.html": "run",
    "admin.html": "console",
    "favicon.svg": "<svg/>",
    "collabd-client.js": "export {}",
    "assets/run-ABCD.js": "1",
    "assets/app-ABCD.css": "a{}",
}


def client_of(directory: Path) -> Client:
    """A client of an app with nothing but these routes."""
    app = QuartTrio(__name__, static_folder=None)
    app.register_blueprint(web_client_routes(cast(Any, None), directory))

    async def problem(error: ProtocolError) -> Any:
        return problem_response(error)

    app.register_error_handler(ProtocolError, problem)
    return app.test_client()


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """A client of a built web client."""
    directory = tmp_path / "web_client"
    for name, text in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    (tmp_path / "secret").write_text("secret")
    return client_of(directory)


def test_the_policy_is_as_strict_as_it_is_meant_to_be() -> None:
    """Nothing from elsewhere, nothing inline, no markup out of text; a word that is loosened has to be loosened here."""
    assert CONTENT_SECURITY_POLICY == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )


@pytest.mark.parametrize(
    ("path", "text", "status"),
    [("/", "lobby", 200), (f"/runs/{RUN}", "run", 200), ("/admin", "console", 200), ("/runs/nonsense", "run", 404)],
)
async def test_each_page_comes_with_the_policy(client: Client, path: str, text: str, status: int) -> None:
    """A page may use nothing but this server; a link to no run is a page that says so."""
    answer = await client.get(path)
    assert (answer.status_code, await answer.get_data(as_text=True)) == (status, text)
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("name", "kind", "kept"),
    [
        ("assets/run-ABCD.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("assets/app-ABCD.css", "text/css; charset=utf-8", "public, max-age=31536000, immutable"),
        ("collabd-client.js", "text/javascript; charset=utf-8", "no-cache"),
        ("favicon.svg", "image/svg+xml", "no-cache"),
    ],
)
async def test_files_named_by_their_content_are_kept_for_ever(client: Client, name: str, kind: str, kept: str) -> None:
    """The others are asked for anew, so that an upgrade is seen at once."""
    answer = await client.get(f"/{name}")
    assert answer.status_code == 200
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == (kind, kept)


async def test_other_origins_may_use_the_library_and_nothing_else(client: Client) -> None:
    """A module script of another origin needs to be allowed; pages and their assets are this server's own."""
    allowed = {
        path: (await client.get(path)).headers.get("access-control-allow-origin")
        for path in ["/collabd-client.js", "/assets/run-ABCD.js", "/", "/favicon.svg"]
    }
    assert allowed == {"/collabd-client.js": "*", "/assets/run-ABCD.js": None, "/": None, "/favicon.svg": None}


async def test_what_a_browser_has_already_is_not_sent_again(client: Client) -> None:
    """304 for the same content, 200 for anything else."""
    first = await client.get("/")
    same = await client.get("/", headers={"if-none-match": first.headers["etag"]})
    assert (same.status_code, await same.get_data()) == (304, b"")
    assert same.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    other = await client.get("/", headers={"if-none-match": '"older"'})
    assert (other.status_code, await other.get_data()) == (200, b"lobby")


@pytest.mark.parametrize("path", ["/missing.js", "/run.html", "/assets/", "/../secret", "/%2e%2e/secret", "/assets//x"])
async def test_nothing_but_the_built_files_is_served(client: Client, path: str) -> None:
    """Whatever else is asked for, next to them or below, is 404 as JSON."""
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_without_a_build_the_pages_say_how_to_make_one(tmp_path: Path) -> None:
    """The daemon does all of its work without the pages; only they are missing."""
    client = client_of(tmp_path / "none")
    for path in ["/", f"/runs/{RUN}", "/admin"]:
        answer = await client.get(path)
        assert answer.status_code == 200
        assert "npm run build" in await answer.get_data(as_text=True)
