"""`collabd backup`, `restore`, `export`, `import`, `migrate`, `compact`: taking care of a data directory.

Law of this file: arguments in, a few lines or one JSON object out; the work is in collabd.store, and what goes wrong
there is told by collabd.cli. `collabd.cli` finds the commands in `commands`. Exit statuses stand in docs/cli.md.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import click

from collabd import exits
from collabd.config_file import config_option, find_config
from collabd.errors import NotDone, ProtocolError
from collabd.progress import progress_bar
from collabd.words import count, size

if TYPE_CHECKING:
    import io

    from collabd.config import Storage

_Command = TypeVar("_Command", bound=Callable[..., Any])
_BLOCK = 1024 * 1024

_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _data_options(command: _Command) -> _Command:
    """Which data directory."""
    data_dir = click.option(
        "--data-dir", metavar="DIR", help="Directory of the database [default: storage.data_dir of the configuration]"
    )
    return config_option(data_dir(command))


def _storage(config_file: Path | None, data_dir: str | None) -> Storage:
    """The storage that is meant. Raises ConfigError."""
    from collabd.config import load_config

    options = {} if data_dir is None else {"storage.data_dir": data_dir}
    return load_config(find_config(config_file), os.environ, options=options).storage


@click.command()
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@_data_options
@_json_option
def backup(target: Path, config_file: Path | None, data_dir: str | None, as_json: bool) -> None:
    """Copy the database, in use or not, into a new FILE, and check the copy.

    Never overwrites. The daemon goes on meanwhile; the copy is one moment of its log.
    """
    from collabd.store.backup import back_up

    began = time.monotonic()
    with progress_bar() as progress:
        done = back_up(_storage(config_file, data_dir).data_dir, target, progress)
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        _print_json({"file": str(target), **_camel(done._asdict()), "seconds": seconds})
    else:
        click.echo(
            f"{target}: {count(done.runs, 'run')}, {count(done.events, 'event')}, {size(done.database_bytes)},"
            f" checked, in {seconds:.1f} s"
        )


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@_data_options
@_json_option
def restore(file: Path, config_file: Path | None, data_dir: str | None, as_json: bool) -> None:
    """Bring a backup back into a data directory that has no database, under a new epoch.

    Clients that come back are told that the history changed, and get what a late joiner gets.
    """
    from collabd.store.backup import restore as bring_back

    target = _storage(config_file, data_dir).data_dir
    with progress_bar() as progress:
        done = bring_back(file, target, _now_ms(), progress)
    if as_json:
        _print_json({"dataDir": str(target), **_camel(done._asdict())})
    else:
        click.echo(
            f"{target}: {count(done.runs, 'run')}, {count(done.events, 'event')} restored under the new epoch"
            f" {done.epoch}; start it with `collabd serve`"
        )


@click.command("export")
@_data_options
@click.option("--run", "runs", multiple=True, metavar="ID", help="Only this run; may be given again [default: all]")
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="[default: standard output]")
def export_command(config_file: Path | None, data_dir: str | None, runs: tuple[str, ...], output: Path | None) -> None:
    """Write runs as JSON Lines, from a database in use or not. Never overwrites FILE."""
    from collabd.store.exporting import export_runs

    source = _storage(config_file, data_dir).data_dir
    wanted = [_run_id(run) for run in runs]
    with _output(output) as stream, progress_bar() as progress:
        done = export_runs(source, wanted, stream.write, _now_ms(), progress)
        stream.flush()
    told = f"{count(done.runs, 'run')}, {count(done.events, 'event')}, {count(done.states, 'kept state')}"
    click.echo(f"{output or 'exported'}: {told}", err=output is None)


@click.command("import")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@_data_options
@_json_option
def import_command(file: Path, config_file: Path | None, data_dir: str | None, as_json: bool) -> None:
    """Take in the runs of an export (FILE, or - for standard input): all of them, or none.

    The daemon must be stopped. Numbers stay as they are; runs that are there already are refused.
    """
    from collabd.store.importing import import_runs

    storage = _storage(config_file, data_dir)
    with _input(file) as stream, progress_bar() as progress:
        done = import_runs(
            stream, storage.data_dir, synchronous=storage.synchronous, now_ms=_now_ms(), progress=progress
        )
    if as_json:
        _print_json({"dataDir": str(storage.data_dir), **_camel(done._asdict())})
    else:
        told = f"{count(done.runs, 'run')}, {count(done.events, 'event')}, {count(done.states, 'kept state')}"
        click.echo(f"{storage.data_dir}: imported {told}")


@click.command()
@_data_options
@click.option("--check", is_flag=True, help="Only say whether it is needed (exit status 3 where it is).")
@_json_option
def migrate(config_file: Path | None, data_dir: str | None, check: bool, as_json: bool) -> None:
    """Bring the database to the schema of this version. `serve` does so too, when it starts."""
    from collabd.store.upkeep import migrate_directory, schema_of

    storage = _storage(config_file, data_dir)
    if check:
        found, known = schema_of(storage.data_dir)
    else:
        found, known = migrate_directory(storage.data_dir, storage.synchronous, _now_ms())
    is_needed = check and found < known
    if as_json:
        _print_json({"dataDir": str(storage.data_dir), "from": found, "to": known, "needed": is_needed})
    elif is_needed:
        click.echo(
            f"{storage.data_dir}: has schema {found}, this version wants {known}; make a backup with `collabd backup`,"
            " then run `collabd migrate`"
        )
    elif found == known:
        click.echo(f"{storage.data_dir}: up to date (schema {known})")
    else:
        click.echo(f"{storage.data_dir}: migrated from schema {found} to {known}")
    sys.exit(exits.ATTENTION if is_needed else exits.DONE)


@click.command()
@_data_options
@_json_option
def compact(config_file: Path | None, data_dir: str | None, as_json: bool) -> None:
    """Trim every run to what is to be kept of it, and give the disk back what is free. The daemon must be stopped."""
    storage = _storage(config_file, data_dir)
    # SQLite builds the compacted file in a temporary one, which has to find room; read when the library is loaded.
    os.environ.setdefault("SQLITE_TMPDIR", str(storage.data_dir))
    from collabd.store.upkeep import compact_directory

    with progress_bar() as progress:
        done = compact_directory(
            storage.data_dir,
            synchronous=storage.synchronous,
            retention=storage.max_persisted_messages_per_run,
            window_ms=int(storage.dedupe_window_s * 1000),
            now_ms=_now_ms(),
            progress=progress,
        )
    if as_json:
        _print_json({"dataDir": str(storage.data_dir), **_camel(done._asdict())})
    else:
        click.echo(
            f"{storage.data_dir}: {size(done.bytes_before)} before, {size(done.bytes_after)} now;"
            f" {count(done.trimmed_events, 'event')} trimmed, {count(done.forgotten_ids, 'old message id')} forgotten"
        )


commands: list[click.Command] = [backup, restore, export_command, import_command, migrate, compact]


@contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a new file of mode 0600 that is gone again where the block fails."""
    if path is None:
        try:
            yield sys.stdout.buffer
        except BrokenPipeError:
            raise
        except OSError as error:
            raise NotDone(f"standard output cannot be written: {error.strerror}") from None
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise NotDone(f"{path}: exists already and was left as it is; name another file") from None
    except OSError as error:
        raise NotDone(f"{path}: cannot be written: {error.strerror}; name another file") from None
    is_whole = False
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(handle)
        is_whole = True
    except OSError as error:
        raise NotDone(f"{path}: cannot be written: {error.strerror}; name another file") from None
    finally:
        if not is_whole:
            path.unlink(missing_ok=True)


@contextmanager
def _input(path: Path) -> Iterator[BinaryIO]:
    """A file that can be read twice; standard input is copied into a temporary one."""
    if str(path) == "-":
        with tempfile.TemporaryFile() as copy:
            # read1, whatever there is: a read that waits for a whole block may miss a Ctrl-C between two pieces of it.
            while block := cast("io.BufferedReader", sys.stdin.buffer).read1(_BLOCK):
                copy.write(block)
            yield copy
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise NotDone(f"{path}: cannot be read: {error.strerror}; nothing was imported") from None
    with file:
        if not file.seekable():
            raise NotDone(f"{path}: cannot be read twice; give it on standard input (FILE is -)")
        try:
            yield file
        except NotDone as error:
            # Whoever imports many files wants to know which.
            raise NotDone(f"{path}: {error}" if str(error).startswith("line ") else str(error)) from None


def _run_id(text: str) -> str:
    from collabd.protocol.names import parse_run_id

    try:
        return parse_run_id(text)
    except ProtocolError as error:
        raise click.BadParameter(error.message, param_hint="--run") from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _camel(values: dict[str, Any]) -> dict[str, Any]:
    """Names as the protocol writes them."""
    return {
        name.split("_")[0] + name.title().replace("_", "")[len(name.split("_")[0]) :]: values[name] for name in values
    }


def _print_json(report: dict[str, Any]) -> None:
    click.echo(json.dumps(report, ensure_ascii=False))
