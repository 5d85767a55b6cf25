"""docs/proxies.md shows the configurations that are shipped and tested."""

from __future__ import annotations

import re

import pytest

from tests.proxies.stack import ROOT

PAGE = (ROOT / "docs" / "proxies.md").read_text()


@pytest.mark.parametrize(("language", "file"), [("nginx", "nginx.conf"), ("caddyfile", "Caddyfile")])
def test_the_page_quotes_the_shipped_file(language: str, file: str) -> None:
    """Word for word."""
    (quoted,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert quoted == (ROOT / "packaging" / file).read_text()
