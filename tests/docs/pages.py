"""How the commands of the README and of docs/ are run, and which are not run here, with the reason.

Law of this file: lists and nothing else. Every page is run, as `Page()` says unless it has a line in `PAGES`; a block
that cannot be run has a line in `NOT_RUN`, which names the test that runs the same elsewhere.

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


#: The file that docs/configuration.md shows.
BROKEN_TOML = """
unset COLLABD_SERVER__BIND
printf '[server]\\nbind = "127.0.0.1:80a"\\n[limits]\\nconections = 100\\n' > broken.toml
"""

#: Pages that are run otherwise than as `Page()`, or that are looked for by name, by their path in the repository.
PAGES: dict[str, Page] = {
    "README.md": Page(),
    "CONTRIBUTING.md": Page(has_daemon=False),
    "docs/README.md": Page(has_daemon=False),
    "docs/architecture.md": Page(has_daemon=False),
    "docs/client-behaviour.md": Page(has_daemon=False),
    "docs/configuration.md": Page(has_daemon=False, before=BROKEN_TOML),
    "docs/install.md": Page(has_daemon=False),
    "docs/operations.md": Page(),
    "docs/performance.md": Page(has_daemon=False),
    "docs/protocol.md": Page(has_daemon=False),
    "docs/proxies.md": Page(has_daemon=False),
    "docs/cli.md": Page(),
    "docs/data.md": Page(
        before="for n in 1 2; do collabd send 3f2b8c1e-5d4a-4f6b-9c7d-8e9f0a1b2c3d GRAFT '{}' >.sent; done"
    ),
    "docs/python.md": Page(),
    "docs/security.md": Page(has_daemon=False),
    "docs/web.md": Page(has_daemon=False),
}

#: (page, how the block's first line begins) → why it is not run here, and the test that covers it.
NOT_RUN: dict[tuple[str, str], tuple[str, str]] = {
    ("README.md", "git clone <this repository> collabd && cd collabd"): (
        "the repository has no address of its own; set-up and start in a checkout are tested beside their code",
        "tests/checkout/test_checkout.py",
    ),
    ("CONTRIBUTING.md", "python3 packaging/checkout.py serve"): (
        "the second is what runs this test; the first is tested beside its code",
        "tests/checkout/test_checkout.py",
    ),
    ("docs/install.md", "python3 packaging/build.py wheel"): (
        "every product is built and installed by tests of its own",
        "tests/install",
    ),
    ("docs/install.md", "pipx install dist/collabd-"): (
        "it needs pipx or uv; the same wheel is installed into an environment of its own",
        "tests/install/test_python_packages.py",
    ),
    ("docs/install.md", "install -D -m 644 -t ~/.local/share/man/man1"): (
        "the pages are built and rendered by tests of their own",
        "tests/install/test_manual.py",
    ),
    ("docs/install.md", "apt install ./dist/collabd_"): (
        "it would change the machine; dpkg installs, upgrades and purges the package on an overlay of it",
        "tests/install/test_debian_package.py",
    ),
    ("docs/install.md", "cp dist/collabd-"): (
        "it would change the machine; the file is run in an empty root",
        "tests/install/test_single_file.py",
    ),
    ("docs/operations.md", "install -m 644 packaging/collabd.service"): (
        "it is for a machine's own systemd; the units are started by one of the tests' own",
        "tests/systemd",
    ),
    ("docs/reliability.md", "python -m tests.torture "): (
        "it takes hours; the short form of each is a test",
        "tests/torture",
    ),
    ("docs/performance.md", "python -m benchmarks "): (
        "it takes half an hour; the quick form is run against the recorded figures",
        "benchmarks/quick.py",
    ),
    ("docs/data.md", 'sqlite3 -readonly backup.sqlite3 "SELECT count(*) FROM ai_run"'): (
        "sqlite3 is a program of its own that not every machine has",
        "tests/commands/test_docs.py",
    ),
}
