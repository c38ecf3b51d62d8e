"""`sevbuild lock`: write down what manifests' names lead to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from sevbuild.cli import options
from sevbuild.cli.output import FORCE, protect, refuse_force, write_outputs
from sevbuild.cli.report import print_data, print_error, print_notices
from sevbuild.errors import SevbuildError

if TYPE_CHECKING:
    from sevbuild.guest.guest import Guest
    from sevbuild.manifest.lock import Lock, LockedInput

__all__ = ["lock"]

_SHA256 = 32


def lock(
    manifest: list[str] | None = options.MANIFESTS,
    output: str = options.value_option(
        "--output",
        "-o",
        metavar="FILE",
        text="Where to write it instead of beside the manifest; - prints it.",
    ),
    check: bool = typer.Option(False, "--check", help="Write nothing; exit 1 if a lock is stale."),
    force: bool = FORCE,
    settings: list[str] = options.SETTINGS,
    offline: bool = options.OFFLINE,
    fmt: str = options.RESULT_FORMAT,
) -> None:
    """Write size and SHA-256 of every input, command lines, CPU signatures and profiles to guest.lock.

    Whatever measures a manifest is held to it by --locked. Each manifest has a lock of its
    own, and each is tried; the highest exit code counts.
    """
    from sevbuild.guest.locking import lock_path

    as_json = options.wants_json(fmt)
    if as_json and output == "-":
        raise SevbuildError("-o - prints the lock itself", hint="--format json requires a lock in a file")
    if force:
        refuse_force("-" if check else output or options.DEFAULT_MANIFEST)
    manifests = manifest or [options.DEFAULT_MANIFEST]
    if len(manifests) > 1 and output:
        raise SevbuildError(
            "--output names the lock of a single manifest",
            hint="each manifest has its own lock beside it",
        )
    paths: dict[str, str] = {}
    for name in manifests if len(manifests) > 1 else ():
        path = lock_path(name)
        if path in paths:
            raise SevbuildError(f"{paths[path]} and {name} share one lock, {path}")
        paths[path] = name
    done = []
    for name in manifests:
        try:
            done.append(_lock(name, output, settings, check=check, force=force, offline=offline))
        except SevbuildError as error:
            print_error(error)
            done.append(_Locked(name, error.exit_code, str(error)))
    if as_json:
        _print(done)
    status = max(item.exit_code for item in done)
    if status:
        raise typer.Exit(status)


class _Locked(NamedTuple):
    """What became of one manifest's lock; `lock` is None where `error` says why there is none."""

    manifest: str
    exit_code: int
    error: str | None = None
    guest: Guest | None = None
    lock: Lock | None = None
    written: Mapping[str, bytes] = {}


def _print(done: Sequence[_Locked]) -> None:
    """Print as JSON what became of each manifest."""
    from sevbuild.documents.json_text import json_text
    from sevbuild.reference.results import RESULT_SCHEMA, result_entry, written_files

    entries = []
    for item in done:
        entry: dict[str, Any] = {"manifest": item.manifest, "exit_code": item.exit_code, "error": item.error}
        if item.guest is None or item.lock is None:
            entries.append(entry | result_entry())
            continue
        manifest = item.guest.manifest
        own = {
            "guest": {"name": manifest.name, "version": manifest.version},
            "inputs": [_input(record) for record in item.lock.inputs],
        }
        files = written_files(item.written)
        entries.append(entry | result_entry(written=files, notices=item.guest.notices) | own)
    print_data(json_text({"schema": RESULT_SCHEMA, "manifests": entries}))


def _input(record: LockedInput) -> dict[str, Any]:
    """Return an input of a lock as reference values write it; `part` is that of an image taken in parts."""
    entry: dict[str, Any] = {"role": record.role, "name": record.name}
    if record.part:
        entry["part"] = record.part
    if record.size is not None:
        entry["size"] = record.size
    if record.digest is not None:
        entry["sha256" if len(record.digest) == _SHA256 else "seed"] = record.digest.hex()
    return entry


def _lock(
    manifest: str, output: str, settings: list[str], *, check: bool, force: bool, offline: bool
) -> _Locked:
    """Write the lock of one manifest, or check it."""
    from sevbuild.guest.guest import load_guest
    from sevbuild.guest.locking import LockCheck, lock_path, resolve_lock
    from sevbuild.manifest.lock import encode_lock

    held = LockCheck(manifest, path=output, settings=settings) if check else None
    path = output or lock_path(manifest)
    guest = load_guest(manifest, settings=options.read_settings(settings), network=options.network(offline))
    guest.check_inputs()
    if held is not None:
        held(guest, guest.targets, everything=True)
        print_notices(held.unheld(guest.targets), quiet=False)
    lock = resolve_lock(guest, guest.targets, everything=True)
    files = {} if check else {path: encode_lock(lock).encode()}
    if path == "-" and not check:
        print_data(files[path])
    elif not check:
        protected = protect(given=settings)
        protected.add_guest(manifest, guest)
        write_outputs(files, protected, force=force)
    return _Locked(manifest, 0, None, guest, lock, files)
