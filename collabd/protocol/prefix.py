"""A path prefix below which a proxy serves this server. Law of this file: pure text.

Some proxies take the prefix off (nginx: proxy_pass with a slash; Caddy: handle_path), others pass it on. Both are
understood, so that neither is a trap: the server's own routes never begin with it.
"""

from __future__ import annotations


def below_prefix(path: str, prefix: str) -> str | None:
    """The path as the server's own routes know it; `prefix` is "" or like /collab.

    None for the prefix alone without a slash at its end: relative links of the page there would lead elsewhere.
    """
    if not prefix or not path.startswith(prefix):
        return path
    rest = path[len(prefix) :]
    if not rest:
        return None
    return rest if rest.startswith("/") else path
