"""Requests that are refused before anything happens, with their code: for the upgrade and for poll the same.

Law of this file: data only. Docs: docs/protocol.md, "WebSocket" and "Error codes".
"""

from __future__ import annotations

from urllib.parse import quote

RUN = "3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d"

BAD_RUN_IDS = {
    "word": "main",
    "without hyphens": RUN.replace("-", ""),
    "braces": quote(f"{{{RUN}}}"),
    "urn": f"urn:uuid:{RUN}",
    "one digit short": RUN[:-1],
    "one digit more": RUN + "0",
    "line feed after": RUN + "%0A",
    "NUL after": RUN + "%00",
    "space before": "%20" + RUN,
    "no hexadecimal digit": RUN[:-1] + "g",
    "full-width digit": quote(RUN[:-1] + "３"),
    "escaped twice": RUN.replace("3", "%2533", 1),
}

BAD_QUERIES = {
    "userId empty": ("userId=", "invalid_parameter"),
    "userId of 256": ("userId=" + "a" * 256, "invalid_parameter"),
    "userId of 256 characters of two bytes": ("userId=" + "%C3%A9" * 256, "invalid_parameter"),
    "userId with a line feed": ("userId=a%0Ab", "invalid_parameter"),
    "userId with NUL": ("userId=%00", "invalid_parameter"),
    "userId with DEL": ("userId=a%7F", "invalid_parameter"),
    "userId with a C1 control": ("userId=a%C2%85", "invalid_parameter"),
    "userId of invalid UTF-8": ("userId=%FF", "invalid_parameter"),
    "userId of a surrogate": ("userId=%ED%A0%80", "invalid_parameter"),
    "afterSequence below zero": ("userId=a&epoch=e&afterSequence=-1", "invalid_parameter"),
    "afterSequence of letters": ("userId=a&epoch=e&afterSequence=abc", "invalid_parameter"),
    "afterSequence of 10^30": ("userId=a&epoch=e&afterSequence=1" + "0" * 30, "invalid_parameter"),
    "afterSequence of 2^53": ("userId=a&epoch=e&afterSequence=9007199254740992", "invalid_parameter"),
    "afterSequence empty": ("userId=a&epoch=e&afterSequence=", "invalid_parameter"),
    "afterSequence with a plus": ("userId=a&epoch=e&afterSequence=%2B1", "invalid_parameter"),
    "afterSequence with a space": ("userId=a&epoch=e&afterSequence=%201", "invalid_parameter"),
    "afterSequence with an underscore": ("userId=a&epoch=e&afterSequence=1_0", "invalid_parameter"),
    "afterSequence of full-width digits": ("userId=a&epoch=e&afterSequence=" + quote("１"), "invalid_parameter"),
    "afterSequence with a fraction": ("userId=a&epoch=e&afterSequence=1.0", "invalid_parameter"),
    "afterSequence as a power": ("userId=a&epoch=e&afterSequence=1e3", "invalid_parameter"),
    "afterSequence in hexadecimal": ("userId=a&epoch=e&afterSequence=0x1", "invalid_parameter"),
    "epoch empty": ("userId=a&epoch=&afterSequence=1", "invalid_parameter"),
    "epoch of 129": ("userId=a&afterSequence=1&epoch=" + "e" * 129, "invalid_parameter"),
    "query of 101 names": ("userId=a&" + "&".join(f"n{number}=1" for number in range(101)), "invalid_parameter"),
}
