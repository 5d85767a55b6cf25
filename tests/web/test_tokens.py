"""The pages of a server that lets in whoever has a token."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import jwt
import pytest
from playwright.sync_api import expect

from tests.support.daemon import Daemon, running_daemon
from tests.web.accessibility import violations
from tests.web.browsers import Person
from tests.web.conftest import People

pytestmark = pytest.mark.e2e
SECRET = "a secret of at least thirty-two characters"
Mint = Callable[..., str]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A server with tokens."""
    directory = tmp_path_factory.mktemp("guarded")
    key = directory / "key"
    key.write_text(SECRET)
    key.chmod(0o600)
    with running_daemon(directory / "data", {"AUTH__MODE": "jwt", "AUTH__KEY_FILE": str(key)}) as daemon:
        yield daemon


@pytest.fixture
def mint() -> Mint:
    """Makes a token of this server."""

    def make(user: str, *, seconds: float = 3600, role: str = "editor", secret: str = SECRET) -> str:
        claims = {"sub": user, "exp": time.time() + seconds, "role": role, "runs": ["*"]}
        return jwt.encode(claims, secret, algorithm="HS256")

    return make


def guest(people: People, guarded: Daemon, name: str) -> Person:
    """Somebody whose first requests will be refused, which the browser notes."""
    person: Person = people(name, url=guarded.url)
    person.network_may_fail = True
    return person


def gives(person: Person, token: str) -> None:
    """Paste a token into the dialog that asks for it."""
    person.page.get_by_label("Access token", exact=True).fill(token)
    person.page.get_by_role("button", name="Use token").click()


def test_the_lobby_asks_for_a_token_and_takes_the_name_from_it(people: People, guarded: Daemon, mint: Mint) -> None:
    """Without one there is a word of what to do; nonsense is refused before it is sent; the token says who one is."""
    ann = guest(people, guarded, "somebody")
    ann.page.goto(guarded.url)
    ann.page.get_by_role("button", name="Give a token").click()
    gives(ann, "two words")
    expect(ann.page.get_by_text("A token has no spaces")).to_be_visible()
    gives(ann, "nonsense")
    expect(ann.page.get_by_text("This is no access token")).to_be_visible()
    assert violations(ann.page, "token dialog") == []
    gives(ann, mint("zoë"))
    expect(ann.page.get_by_text("No runs yet")).to_be_visible()
    expect(ann.page.get_by_role("button", name="You are zoë")).to_be_visible()


@pytest.mark.parametrize("wrong", ["forged", "expired"])
def test_a_wrong_token_is_asked_for_again(people: People, guarded: Daemon, mint: Mint, run_id: str, wrong: str) -> None:
    """A run without a token says so; one that the server refuses is asked for again; a good one joins."""
    ann = guest(people, guarded, "somebody")
    ann.page.goto(f"{guarded.url}/runs/{run_id}")
    expect(ann.page.locator(".notice")).to_contain_text("asks for an access token")
    ann.page.get_by_role("button", name="Give a token").click()
    gives(ann, mint("ann", secret=SECRET + "!") if wrong == "forged" else mint("ann", seconds=-60))
    expect(ann.page.get_by_role("heading", name="A new access token is needed")).to_be_visible()
    gives(ann, mint("ann"))
    ann.is_shown("onnected")
    expect(ann.page.locator(".notice")).to_have_count(0)
    ann.prunes("PM")
    expect(ann.page.locator("run-feed .row", has_text="ann pruned PM")).to_be_visible()


def test_a_token_that_expires_is_renewed_without_losing_anything(
    people: People, guarded: Daemon, mint: Mint, run_id: str
) -> None:
    """Before it expires the page asks for another; who declines is told what waits, and may give one later."""
    ann = guest(people, guarded, "somebody")
    soon_over = mint("ann", seconds=6)
    ann.context.add_init_script(
        f"sessionStorage.getItem('collabd:token') ?? sessionStorage.setItem('collabd:token', '{soon_over}')"
    )
    ann.page.goto(f"{guarded.url}/runs/{run_id}")
    ann.is_shown("Connected")
    expect(ann.page.get_by_role("heading", name="A new access token is needed")).to_be_visible(timeout=15_000)
    ann.page.get_by_role("button", name="Not now").click()
    ann.is_shown("Disconnected")
    expect(ann.page.locator(".notice")).to_contain_text("An access token is needed to come back")
    ann.prunes("PM")
    expect(ann.card("PM")).to_have_attribute("data-pending", "queued")
    ann.page.get_by_role("button", name="Give a token").click()
    gives(ann, mint("ann"))
    expect(ann.page.locator("run-feed .row", has_text="#1")).to_contain_text("ann pruned PM")


def test_who_may_only_look_is_told_so(people: People, guarded: Daemon, mint: Mint, run_id: str) -> None:
    """A viewer's change is rejected with its reason, and stands in the feed until dismissed."""
    ann = guest(people, guarded, "somebody")
    ann.context.add_init_script(f"sessionStorage.setItem('collabd:token', '{mint('eve', role='viewer')}')")
    ann.page.goto(f"{guarded.url}/runs/{run_id}")
    ann.is_shown("Connected")
    ann.prunes("PM")
    expect(ann.page.locator(".toasts")).to_contain_text("Not done: you pruned PM. Viewers may not send PRUNE.")
    row = ann.page.locator("run-feed .own")
    expect(row.locator(".tag")).to_have_text("Rejected")
    expect(row.locator(".why")).not_to_be_empty()
    expect(ann.card("PM")).not_to_have_attribute("data-pruned", "")
    row.get_by_role("button", name="Dismiss").click()
    expect(row).to_have_count(0)
