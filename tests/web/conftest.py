"""A browser, a server, and people.

Without a Chromium these tests are skipped with a word that nobody overlooks; where CI is set they fail instead.
`python3 packaging/checkout.py test` installs one where it may.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from collabd.routes.web_client import CLIENT_DIR
from tests.support.daemon import Daemon, running_daemon
from tests.web.browsers import CHROMIUM_OPTIONS, SOON_MS, Person, find_chromium

NO_BROWSER = (
    "NO BROWSER TEST WAS RUN: there is no Chromium on this machine (Debian: apt-get install chromium; elsewhere set "
    "COLLABD_TEST_CHROMIUM to its path)"
)
NOT_BUILT = "the web client is not built: npm ci && npm run build in web/, or python3 packaging/checkout.py test"

expect.set_options(timeout=SOON_MS)

People = Callable[..., Person]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests; each person has a profile of their own in it."""
    path = find_chromium()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(NO_BROWSER)
        pytest.skip(NO_BROWSER)
    if not (CLIENT_DIR / "run.html").exists():
        pytest.fail(NOT_BUILT)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A server for the tests of a module that do it no harm; each has a run of its own."""
    data_dir: Path = tmp_path_factory.mktemp("web") / "data"
    with running_daemon(data_dir, {"LIMITS__MESSAGES_PER_SECOND": "0"}) as running:
        yield running


@pytest.fixture
def run_id() -> str:
    """A run that nobody knows yet."""
    return str(uuid.uuid4())


@pytest.fixture
def serve_directory() -> Iterator[Callable[[Path], str]]:
    """Another web server, which knows nothing of collabd: takes a directory, gives its address."""
    servers: list[ThreadingHTTPServer] = []

    def serve(directory: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(directory)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def people(browser: Browser, daemon: Daemon) -> Iterator[People]:
    """Makes people; at the end of the test their browsers must not have complained of anything."""
    everybody: list[Person] = []

    def make(name: str, *, url: str | None = None, **options: object) -> Person:
        person = Person(browser, url or daemon.url, name, **options)  # type: ignore[arg-type]
        everybody.append(person)
        return person

    yield make
    complaints = {person.name: person.complaints for person in everybody if person.complaints}
    for person in everybody:
        person.context.close()
    assert complaints == {}
