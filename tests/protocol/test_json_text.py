"""What may be sent is what every reasonable parser reads, and reads the same way."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64decode, b64encode
from time import process_time

import pytest
from hypothesis import example, given, settings

from collabd.protocol.json_text import MAX_DEPTH, check_json_text
from tests.protocol.support import Refused, read_strictly, scarred_texts

PARSE_IN_NODE = """
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const bad = texts.filter((text) => {
  try {
    let finite = true;
    JSON.parse(utf8.decode(Buffer.from(text, "base64")), (_, value) => {
      if (typeof value === "number" && !Number.isFinite(value)) finite = false;
      return value;
    });
    return !finite;
  } catch {
    return true;
  }
});
process.stdout.write(JSON.stringify(bad));
"""


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    """A text with so many levels."""
    return opening * levels + b"1" + closing * levels


def passes(text: bytes) -> bool:
    """Whether the check lets a text pass."""
    try:
        check_json_text(text)
    except ValueError:
        return False
    return True


def reason_against(text: bytes) -> str:
    """The sentence that the sender gets."""
    with pytest.raises(ValueError, match=r".") as raised:
        check_json_text(text)
    return str(raised.value)


@settings(max_examples=200, deadline=None)
@given(scarred_texts())
@example(b'{"a":' + b"9" * 400 + b',"a":1}')
@example(b'"\\\\\\u0000"')
@example(nested(32))
@example(nested(33))
def test_a_text_passes_exactly_when_a_plain_reading_of_the_rules_finds_nothing_against_it(text: bytes) -> None:
    """Python's own parser and a walk over its value are the model: not one text more or less."""
    try:
        read_strictly(text)
    except Refused:
        assert not passes(text)
    else:
        assert passes(text)


def test_what_passes_is_read_by_another_language_as_finite_values() -> None:
    """JSON.parse throws at nothing that was let through, and sees no Infinity; all texts go to it at once."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    passed: set[bytes] = {nested(32), b"1" * 309, b"1.7976931348623158e308"}

    @settings(max_examples=150, deadline=None, database=None)
    @given(scarred_texts())
    def collect(text: bytes) -> None:
        if passes(text):
            passed.add(text)

    collect()
    assert refused_by_node(node, sorted(passed)) == []
    assert refused_by_node(node, [b"1", b"1e999", b"nul", b'"\xff"']) == [b"1e999", b"nul", b'"\xff"']


def refused_by_node(node: str, texts: list[bytes]) -> list[bytes]:
    """The texts that JSON.parse does not read as finite values."""
    sent = json.dumps([b64encode(text).decode() for text in texts])
    answer = subprocess.run([node, "-e", PARSE_IN_NODE], input=sent, capture_output=True, text=True, check=True)
    return [b64decode(text) for text in json.loads(answer.stdout)]


@pytest.mark.parametrize("levels", [33, 34, 1_000, 50_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"k":', b"}"), (b'[{"[[":', b"}]")])
def test_deeper_nesting_than_any_parser_must_bear_is_refused_by_name(
    levels: int, opening: bytes, closing: bytes
) -> None:
    """However deep, the answer is the same sentence and never a RecursionError."""
    assert reason_against(nested(levels, opening, closing)) == "nested more than 32 levels deep"


@pytest.mark.parametrize("text", [nested(32), nested(32, b'{"k":', b"}"), nested(16, b'[{"k":', b"}]")])
def test_thirty_two_levels_pass(text: bytes) -> None:
    """The limit is itself allowed."""
    assert MAX_DEPTH == 32
    check_json_text(text)


@pytest.mark.parametrize(
    "text",
    [
        b'"' + b"[" * 1000 + b'"',
        b'["' + b'\\"[' * 500 + b'"]',
        b'{"' + b"{" * 200 + b'\\\\":"' + b"[" * 200 + b'"}',
        b'["\\\\","' + b"[{" * 100 + b'","\\\\"]',
        b"[" + b",".join([b"[]", b"{}"] * 500) + b"]",
        nested(31, b'["]",', b"]"),
    ],
)
def test_brackets_in_strings_and_side_by_side_are_no_levels(text: bytes) -> None:
    """Only what opens inside of what is open counts."""
    check_json_text(text)


def test_a_quote_after_an_even_number_of_backslashes_ends_its_string() -> None:
    """Else brackets behind it would be taken for text, or text for brackets."""
    assert passes(b'["\\\\","' + b"[" * 40 + b'"]')
    assert not passes(b'["\\\\",' + nested(40) + b"]")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"1e999", "range"),
        (b"-1e999", "range"),
        (b"1" + b"0" * 400, "range"),
        (b"1" + b"0" * 5000, "range"),
        (b"1" + b"0" * 100_000, "range"),
        (b"-" + b"9" * 309, "range"),
        (b'{"a":' + b"9" * 400 + b',"a":1}', "range"),
        (b"NaN", "malformed"),
        (b"-Infinity", "malformed"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udfff":1}', "surrogate"),
        (b'"\\u0000"', "NUL"),
        (b'{"a\\\\\\u0000":1}', "NUL"),
        (b'"\xff"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'{"\xc0\xaf":1}', "UTF-8"),
        (b"", "truncated"),
        (b"\xef\xbb\xbf1", "malformed"),
    ],
)
def test_the_sender_is_told_what_is_wrong(text: bytes, word: str) -> None:
    """A clear sentence for each kind of bad input."""
    assert word in reason_against(text)


def test_a_number_beyond_double_is_found_wherever_it_stands() -> None:
    """The look at some of the bytes, before the look at all of them, misses none."""
    for before in range(320):
        for digits, is_refused in ((b"9" * 309, True), (b"1" * 309, False), (b"9" * 308, False)):
            text = b'["' + b"x" * before + b'",' + digits + b"]"
            assert passes(text) is not is_refused, (before, len(digits))


@pytest.mark.parametrize(
    "text",
    [
        b"1" * 309,
        b"1" + b"0" * 400 + b"e-200",
        b"0." + b"0" * 400 + b"1",
        b"1e-" + b"9" * 400,
        b'"' + b"9" * 400 + b'"',
    ],
)
def test_long_is_not_large(text: bytes) -> None:
    """A number of many digits passes when it is a double, and digits in a string are no number."""
    check_json_text(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 40 + b'"' + b'\\"' * 32_000,
        b'"' + b"\\\\" * 32_000 + b'\\u0041"',
        b'"' + b"\\\\u0000" * 9_000 + b'"',
        b"[" + b",".join([b"{}"] * 21_000) + b"]",
        b"[" + b",".join([b"1" * 308] * 200) + b"," + b"1" * 309 + b"]",
        b"[" * 32_000,
    ],
)
def test_no_message_takes_long_to_check(text: bytes) -> None:
    """The largest messages, made to be slow, take milliseconds: what one client sends must not hold up the others."""
    started = process_time()
    passes(text)
    assert process_time() - started < 0.25
