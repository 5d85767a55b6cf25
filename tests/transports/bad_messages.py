"""Messages that no server may take, with the code that each is refused with: over WebSocket and HTTP the same.

Law of this file: data only. Every text is valid UTF-8 and at most 65,536 bytes; what is not has its own tests.
"""

from __future__ import annotations

from typing import NamedTuple


class BadMessage(NamedTuple):
    """A message's text and its error code; `message_id` where the error can name the message."""

    name: str
    text: bytes
    code: str
    message_id: str | None = None


def _of_type(event_type: str) -> bytes:
    return b'{"eventType":%s,"data":1}' % event_type.encode()


def _with_data(data: bytes) -> bytes:
    return b'{"eventType":"GRAFT","data":%s,"clientMessageId":"bad"}' % data


def _with_id(message_id: str) -> bytes:
    return b'{"eventType":"GRAFT","data":1,"clientMessageId":%s}' % message_id.encode()


_NO_MESSAGE = {
    "empty": b"",
    "white space": b" \t\r\n",
    "plain text": b"hello",
    "half an object": b'{"eventType":"GRAFT"',
    "two values": b'{"eventType":"GRAFT"}{}',
    "byte order mark": b'\xef\xbb\xbf{"eventType":"GRAFT"}',
    "list": b'[{"eventType":"GRAFT"}]',
    "string": b'"GRAFT"',
    "null": b"null",
    "number": b"1",
    "single quotes": b"{'eventType':'GRAFT'}",
    "trailing comma": b'{"eventType":"GRAFT",}',
    "comment": b'{"eventType":"GRAFT"/**/}',
    "raw NUL": b'{"eventType":"GRAFT","data":"\x00"}',
    "deep outside of data": b"[" * 30_000,
}

_BAD_DATA = {
    "NaN": b"NaN",
    "Infinity": b"Infinity",
    "minus Infinity": b"-Infinity",
    "1e999": b"1e999",
    "nested -1e400": b'{"a":[-1e400]}',
    "10^309": b"1" + b"0" * 309,
    "10^5000": b'{"n":1' + b"0" * 5000 + b"}",
    "33 deep": b"[" * 33 + b"]" * 33,
    "33 deep in objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "30,000 deep": b"[" * 30_000 + b"]" * 30_000,
    "lone high surrogate": b'"\\ud800"',
    "lone low surrogate": b'"\\uDC00x"',
    "swapped surrogates": b'"\\udc00\\ud800"',
    "surrogate in a name": b'{"\\ud83d":1}',
    "NUL escape": b'"a\\u0000b"',
    "NUL escape after a backslash": b'"\\\\\\u0000"',
    "NUL escape in a name": b'{"\\u0000":1}',
    "control character": b'"\n"',
    "unknown escape": b'"\\x41"',
    "leading zero": b"01",
    "plus": b"+1",
    "hexadecimal": b"0x1",
    "open string": b'"',
    "nothing": b"",
}

_BAD_TYPES = {
    "lower case": '"graft"',
    "empty": '""',
    "51 characters": '"' + "A" * 51 + '"',
    "hyphen": '"STEP-ONE"',
    "space before": '" GRAFT"',
    "line feed after": '"GRAFT\\n"',
    "digit first": '"1A"',
    "other alphabet": '"ГРАФТ"',
    "number": "5",
    "null": "null",
}
_RESERVED = ("WELCOME", "ACK", "ERROR", "PONG", "AUTH_OK", "USER_JOIN", "USER_LEAVE", "DRAIN")
_UNKNOWN_KEYS = ("clientMessageID", "timestamp", "userId", "sequenceNumber", "isCritical", "")
_BAD_IDS = {
    "65 characters": '"' + "a" * 65 + '"',
    "space": '"a b"',
    "empty": '""',
    "line feed after": '"a\\n"',
    "other alphabet": '"é"',
    "slash": '"a/b"',
    "number": "5",
}
_BAD_CONTROL = {
    "PING with an id": b'{"eventType":"PING","data":{},"clientMessageId":"bad"}',
    "CLIENT_HEALTH of text": b'{"eventType":"CLIENT_HEALTH","data":{"latencyMs":"fast"}}',
    "CLIENT_HEALTH below zero": b'{"eventType":"CLIENT_HEALTH","data":{"latencyMs":-1}}',
    "CLIENT_HEALTH that is a list": b'{"eventType":"CLIENT_HEALTH","data":[]}',
}

BAD_MESSAGES = (
    *(BadMessage(f"message: {name}", text, "invalid_json") for name, text in _NO_MESSAGE.items()),
    *(BadMessage(f"data: {name}", _with_data(data), "invalid_json") for name, data in _BAD_DATA.items()),
    BadMessage("type: absent", b'{"data":1}', "invalid_event_type"),
    *(BadMessage(f"type: {name}", _of_type(text), "invalid_event_type") for name, text in _BAD_TYPES.items()),
    *(BadMessage(f"type: {name}", _of_type(f'"{name}"'), "reserved_event_type") for name in _RESERVED),
    *(
        BadMessage(
            f"key: {key or 'empty'}",
            b'{"eventType":"GRAFT","%s":1,"clientMessageId":"bad"}' % key.encode(),
            "unknown_key",
            "bad",
        )
        for key in _UNKNOWN_KEYS
    ),
    *(BadMessage(f"id: {name}", _with_id(text), "invalid_parameter") for name, text in _BAD_IDS.items()),
    *(BadMessage(f"control: {name}", text, "invalid_parameter") for name, text in _BAD_CONTROL.items()),
)
