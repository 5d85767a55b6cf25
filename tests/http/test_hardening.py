"""What every answer carries, unless it has its own word."""

from __future__ import annotations

from collabd.routes.hardening import with_defaults


def test_data_is_for_nobodys_page_and_no_cache() -> None:
    """The defaults, all of them."""
    said = dict(with_defaults([(b"content-type", b"application/json")]))
    assert said == {
        b"content-type": b"application/json",
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"no-referrer",
        b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
        b"cross-origin-resource-policy": b"same-origin",
        b"cache-control": b"no-store",
    }


def test_what_an_answer_says_of_itself_stays_and_is_said_once() -> None:
    """No header is doubled: browsers join the two."""
    own = [(b"cache-control", b"max-age=60"), (b"content-security-policy", b"default-src 'self'")]
    names = [name for name, _ in with_defaults(own)]
    assert with_defaults(own)[:2] == own
    assert len(names) == len(set(names)) == 5


def test_pages_keep_to_themselves_and_what_is_for_all_origins_says_so() -> None:
    """Each in its own case only."""
    page = dict(with_defaults([(b"content-type", b"text/html; charset=utf-8")]))
    assert page[b"cross-origin-opener-policy"] == b"same-origin"
    shared = with_defaults([(b"access-control-allow-origin", b"*")])
    assert [value for name, value in shared if name == b"cross-origin-resource-policy"] == [b"cross-origin"]
