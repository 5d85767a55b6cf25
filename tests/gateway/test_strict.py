"""Heads that two readers might read differently are refused before anybody reads them."""

from __future__ import annotations

import pytest

from collabd.errors import ProtocolError
from collabd.gateway.strict import check_head

LIMIT = 1_000
GOOD = [
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x:80\r\nContent-Length: 3\r\n\r\nab\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nempty:\r\n\r\n",
    b"GET / HTTP/1.1\r\nho",
    b"GET / HTTP/1.1\r",
    b"",
]
BAD = {
    "a length and chunks": b"content-length: 3\r\ntransfer-encoding: chunked",
    "chunks and a length": b"transfer-encoding: chunked\r\ncontent-length: 3",
    "two lengths": b"content-length: 3\r\ncontent-length: 4",
    "the same length twice": b"content-length: 3\r\ncontent-length: 3",
    "a list of lengths": b"content-length: 3, 3",
    "a length with a sign": b"content-length: +3",
    "a length below zero": b"content-length: -1",
    "a length in hexadecimal": b"content-length: 0x3",
    "a length with an underscore": b"content-length: 1_0",
    "no length at all": b"content-length:",
    "a length that no number holds": b"content-length: " + b"9" * 30,
    "chunked twice": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "chunked behind something": b"transfer-encoding: gzip, chunked",
    "chunked with a vertical tab": b"transfer-encoding: \x0bchunked",
    "a bare line feed": b"a: b\nc: d",
    "a bare carriage return": b"a: b\rc: d",
    "NUL": b"a: \x00",
    "a folded line": b"a: b\r\n c",
    "a folded first line": b" a: b",
    "space before the colon": b"content-length : 3",
    "tab before the colon": b"transfer-encoding\t: chunked",
    "no colon": b"abc",
    "no name": b": b",
    "a name in brackets": b"(a): b",
    "two hosts": b"host: y",
}


TARGETS = [b"/", b"/a?b", b"/?/", b"/\xff", b"*", b"http://x", b"HTTPS://x:1/a?b", b"http://x?a"]
NO_TARGETS = [b"?a", b"?", b"a", b"a/b", b"#", b"http://", b"http:///a", b"http://?a", b"ftp://x/", b"x:443", b"**"]


@pytest.mark.parametrize("head", GOOD)
def test_what_is_right_or_may_become_so_passes(head: bytes) -> None:
    """A head that is still on its way is looked at again when there is more of it."""
    check_head(head, LIMIT)


@pytest.mark.parametrize("lines", BAD.values(), ids=list(BAD))
def test_what_can_be_read_in_two_ways_is_refused(lines: bytes) -> None:
    """By everybody: here no proxy in front is asked what it made of it."""
    with pytest.raises(ProtocolError) as refused:
        check_head(b"POST / HTTP/1.1\r\nhost: x\r\n" + lines + b"\r\n\r\n", LIMIT)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nhost:\r\n\r\n", b"GET / HTTP/1.0\r\nhost: \r\n\r\n"]
)
def test_a_host_is_named_where_the_version_asks_for_one(head: bytes) -> None:
    """HTTP/1.1 needs one; one that is given has to say something."""
    with pytest.raises(ProtocolError, match="Host"):
        check_head(head, LIMIT)


def test_a_bare_line_feed_is_seen_before_the_head_ends() -> None:
    """Such a head may never end as we count ends."""
    with pytest.raises(ProtocolError, match="CR LF"):
        check_head(b"GET / HTTP/1.1\nhost: x\n\n", LIMIT)


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_that_is_too_large_is_refused_however_it_comes(end: bytes) -> None:
    """Whole or in pieces; what comes after the head does not count."""
    start = b"GET / HTTP/1.1\r\nhost: x\r\na: "
    with pytest.raises(ProtocolError) as refused:
        check_head(start + b"b" * LIMIT + end, LIMIT)
    assert refused.value.status == 413
    check_head(start + b"\r\n\r\n" + b"b" * LIMIT, LIMIT)


@pytest.mark.parametrize("target", TARGETS)
def test_a_path_an_address_or_an_asterisk_can_be_asked_for(target: bytes) -> None:
    """The forms of RFC 9112, section 3.2, but for the one that only proxies are asked with."""
    check_head(b"GET " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n", LIMIT)


@pytest.mark.parametrize("target", NO_TARGETS)
def test_what_is_no_form_of_a_target_is_refused(target: bytes) -> None:
    """Quart fails at an empty path: one request for `?a` was a 500 and a traceback."""
    with pytest.raises(ProtocolError, match="slash") as refused:
        check_head(b"GET " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n", LIMIT)
    assert refused.value.status == 400
