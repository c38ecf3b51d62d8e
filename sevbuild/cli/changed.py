"""Which manifests a change concerns: what `check --changed`, and with it the pre-commit hooks, looks at."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sevbuild.cli.report import print_notices
from sevbuild.errors import Notice, SevbuildError
from sevbuild.fs import native_path
from sevbuild.guest.guest import load_guest
from sevbuild.guest.locking import lock_path
from sevbuild.guest.manifest_files import MANIFEST, document_kind, named_files
from sevbuild.text import decode_text

__all__ = ["concerned_manifests"]

_USUAL_NAME = "guest.toml"

# What a line of a manifest begins with, and few lines elsewhere, for `git grep -E`; a hit is read as TOML.
_TELLING = r"^[[:space:]]*(\[[[:space:]]*(guest|firmware|igvm)[[:space:]]*\]|(guest|firmware|igvm|schema)[[:space:]]*[.=])"


def concerned_manifests(
    changed: list[str], settings: Mapping[str, Any], *, locked: bool, quiet: bool
) -> list[str]:
    """Return the manifests that are among the changed files or rest on one of them: lock, input, profile.

    They are looked for in the git repository and among the changed files; without a repository, in this
    folder and below. What is deleted in the index, or between the commits that pre-commit was given, has
    changed as well. With `locked`, a manifest that has no lock and had none is left out, with a note.
    """
    top = _git("rev-parse", "--show-toplevel")
    root = top[0] if top else None
    every = [*changed, *(() if root is None else _deleted(root))]
    places = _places(every)
    beside = (f"{path.removesuffix('.lock')}.toml" for path in every if path.endswith(".lock"))
    given = [os.path.normpath(path) for path in (*changed, *beside)]
    found, notices = [], []
    for path in sorted({*given, *_candidates(root)}):
        if not os.path.isfile(path) or not _is_manifest(path):
            continue
        try:
            concerned = _rests_on(path, settings, places)
        except SevbuildError as error:
            text = f"not checked, because what it names is unknown: {error.message}"
            notices.append(Notice("note", path, text))
            continue
        lock = lock_path(path)
        if concerned and locked and not (os.path.exists(lock) or places & _places([lock])):
            notices.append(Notice("note", path, "it has no lock"))
        elif concerned:
            found.append(path)
    print_notices(notices, quiet=quiet)
    return found


def _rests_on(manifest: str, settings: Mapping[str, Any], places: set[str]) -> bool:
    """Tell whether a manifest, its lock or what it names is one of these places; raises SevbuildError."""
    if places & _places([manifest, lock_path(manifest)]):
        return True
    guest = load_guest(manifest, settings=settings)
    return bool(places & _places(path for _, path in named_files(guest)))


def _places(paths: Iterable[str]) -> set[str]:
    """Return where files lie, by name and by what the name leads to: either may be what has changed."""
    return {place for path in paths for place in (os.path.abspath(path), os.path.realpath(path))}


def _candidates(root: str | None) -> Iterator[str]:
    if root is not None:
        for path in _git("grep", "-lzIE", _TELLING, cwd=root):
            yield os.path.relpath(os.path.join(root, path))
        return
    for folder, folders, files in os.walk("."):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.normpath(os.path.join(folder, name)) for name in files if name.endswith(".toml"))


def _is_manifest(path: str) -> bool:
    """Tell whether a file is a manifest, by its name or its tables; if it is no TOML, by its lines."""
    if os.path.basename(path) == _USUAL_NAME:
        return True
    telling = re.compile(_TELLING.replace("[[:space:]]", r"[ \t]").encode())
    try:
        with open(path, "rb") as lines:
            # Not the whole of a file that is something else, and has one line.
            if not any(telling.match(line) for line in iter(lambda: lines.readline(1 << 16), b"")):
                return False
    except OSError:
        return False
    return document_kind(path) == MANIFEST


def _deleted(root: str) -> list[str]:
    command = ("diff", "--name-only", "-z", "--no-renames", "--diff-filter=D")
    paths = _git(*command, "--cached", cwd=root)
    before, after = os.environ.get("PRE_COMMIT_FROM_REF"), os.environ.get("PRE_COMMIT_TO_REF")
    if before and after:
        paths += _git(*command, "--end-of-options", f"{before}...{after}", cwd=root)
    return [os.path.join(root, path) for path in paths]


def _git(*arguments: str, cwd: str | None = None) -> list[str]:
    """Return what git prints, by lines or NULs; nothing where there is no git, no repository, or no match."""
    try:
        ended = subprocess.run(  # noqa: S603 - git alone, and no word of it is a shell's
            ["git", *arguments],  # noqa: S607 - the git that is on PATH, as pre-commit takes it
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=cwd,
        )
    except OSError:
        return []
    separator = b"\n" if arguments[0] == "rev-parse" else b"\0"
    printed = ended.stdout if ended.returncode == 0 else b""
    return [native_path(decode_text(part)) for part in printed.split(separator) if part]
