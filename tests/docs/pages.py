"""Which pages have their commands run, and which commands are not run here, with the reason.

Law of this file: lists and nothing else. A new page of commands is one line in `PAGES`; a block that cannot be run is
one line in `NOT_RUN`, which names the test that runs the same elsewhere.

How to write a page: every fence has a language. ```sh``` is commands, all of which succeed; what is shown right below
them, as ```text``` or ```json```, is (part of) their output. ```console``` is `$ command` lines, each with its whole
output below. ```python``` is a program. Numbers and ids in an output stand for any other; `…` stands for anything, on a
line of its own for any lines.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """How a page's commands are run: from top to bottom in one shell, in an empty home of its own.

    `has_daemon`: a server with the defaults runs already; else the page starts its own. The address
    `127.0.0.1:8080` of the page is that server's. `before`: shell commands that set the stage.
    """

    has_daemon: bool = True
    before: str = ""


#: Pages by their path in the repository.
PAGES: dict[str, Page] = {
    "README.md": Page(),
    "docs/python.md": Page(),
}

#: (page, first line of the block) → why it is not run here, and the test that covers it.
NOT_RUN: dict[tuple[str, str], tuple[str, str]] = {
    ("README.md", "git clone <this repository> collabd && cd collabd"): (
        "the repository has no address of its own; set-up and start in a checkout are tested beside their code",
        "tests/checkout/test_checkout.py",
    ),
    ("README.md", "python3 packaging/checkout.py test"): (
        "it is what runs this test",
        "tests/checkout/test_checkout.py",
    ),
}
