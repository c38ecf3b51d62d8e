"""One guest, forty surroundings: every output is the same to the byte in each of them.

A case changes one thing about the machine, the user or the place. In each, one process measures, plans,
locks, builds, publishes and prints launch commands, and what it wrote is compared with the first case's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.real import require
from tests.support.shared import ROOT

pytestmark = pytest.mark.slow

LINE = "console=ttyS0 größe=ß quiet"
MANIFEST = """
schema = 1
guest = { name = "everywhere", version = "1.0.0" }
launch = { mode = ["snp", "sev-es"], profile = "qemu" }
firmware = { path = "hello.fd" }
kernel = { path = "vmlinuz", cmdline = "LINE x={wert}" }
initrd = { path = "größe.img" }
variables = { wert = "Öl" }
vcpu = { count = [1, 3], model = "EPYC-Milan" }
"""

DRIVER = """
import os, sys
from sevbuild.cli import main
from sevbuild.cli.utf8 import restart_in_utf8

# As the program does before it looks at its arguments.
if sys.getfilesystemencoding() != "utf-8":
    restart_in_utf8()
manifest, out = os.fsdecode(sys.argv[1]), os.fsdecode(sys.argv[2])
target = ["--target", "snp/qemu/EPYC-Milan/vcpus3"]
verbs = {
    "measure.json": ["measure", "-f", "json", manifest],
    "plan.json": ["plan", "-f", "json", manifest],
    "plan.html": ["plan", "-f", "html", manifest],
    "plan.svg": ["plan", "-f", "svg", manifest],
    "lock": ["lock", "-o", "-", manifest],
    "schema": ["schema"],
    "shell": ["qemu-args", *target, "-f", "shell", manifest],
    "libvirt": ["qemu-args", *target, "-f", "libvirt", manifest],
    "json": ["qemu-args", *target, "-f", "json", manifest],
    "build.txt": ["build", "-o", os.path.join(out, "bundle"), manifest],
    "publish.txt": ["publish", "-o", os.path.join(out, "release"), manifest],
    "verify.txt": ["verify", os.path.join(out, "bundle")],
}
for name, words in verbs.items():
    sys.stdout.flush()
    file = os.open(os.path.join(out, name), os.O_WRONLY | os.O_CREAT, 0o644)
    os.dup2(file, 1)
    os.close(file)
    try:
        main(words)
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{name}: exit {ended.code}")
"""
RELATIVE = {"shell", "libvirt", "json"}
"""What names files as the command line does: compared where the manifest is named alike."""

NAMES_THE_BUNDLE = "verify.txt"


NOTHING: Mapping[str, str | None] = {}


class Case(NamedTuple):
    """What is different in one case; `prepare` changes the guest's folder, `wrap` goes before the command."""

    name: str
    environment: Mapping[str, str | None] = NOTHING
    folder: str = "guest"
    umask: int = 0o022
    flags: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()
    elsewhere: bool = False
    prepare: Callable[[Path], None] | None = None


def _old(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (0, 0))


def _future(folder: Path) -> None:
    for path in folder.iterdir():
        os.utime(path, (1 << 33, 1 << 33))


def _links(folder: Path) -> None:
    away = folder.parent / "away"
    away.mkdir()
    for path in list(folder.iterdir()):
        if path.name != "guest.toml":
            path.rename(away / path.name)
            path.symlink_to(away / path.name)


def _hard_links(folder: Path) -> None:
    for path in list(folder.iterdir()):
        os.link(path, folder.parent / f"{path.name}.second")


def _other_order(folder: Path) -> None:
    # Made again in the opposite order, so that a listing of the folder comes out otherwise.
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    for path in list(folder.iterdir()):
        path.unlink()
    for name in sorted(contents, reverse=True):
        (folder / name).write_bytes(contents[name])


def _private(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o400)


def _executable(folder: Path) -> None:
    for path in folder.iterdir():
        path.chmod(0o777)


NO_COERCION = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
LATIN = "de_DE.ISO-8859-1"
TURKISH = "tr_TR.UTF-8"
CASES = [
    Case("as it is"),
    Case("locale C", {"LC_ALL": "C"}),
    Case("locale C without coercion", NO_COERCION),
    Case("locale POSIX without coercion", {**NO_COERCION, "LC_ALL": "POSIX"}),
    Case("locale C.UTF-8", {"LC_ALL": "C.UTF-8"}),
    Case("locale ISO-8859-1", {"LC_ALL": LATIN}),
    Case("locale ISO-8859-1, stdio UTF-8", {"LC_ALL": LATIN, "PYTHONIOENCODING": "utf-8"}),
    Case("locale Turkish", {"LC_ALL": TURKISH}),
    Case("no locale at all", {"LC_ALL": None, "LANG": None, "LC_CTYPE": None}),
    Case("a locale that is not there", {"LC_ALL": "xx_XX.UTF-8"}),
    Case("UTF-8 mode", {"PYTHONUTF8": "1", "LC_ALL": LATIN}),
    Case("stdio in ASCII", {"PYTHONIOENCODING": "ascii:strict"}),
    Case("stdio in UTF-16", {"PYTHONIOENCODING": "utf-16"}),
    Case("a path with an umlaut", folder="größe"),
    Case("a path with an umlaut, locale C without coercion", NO_COERCION, folder="größe"),
    Case("a path with an umlaut, locale ISO-8859-1", {"LC_ALL": LATIN}, folder="größe"),
    Case("a path with blanks and quotes", folder='it\'s a "path" $HOME'),
    Case("a path with a newline", folder="a\nb"),
    Case("a path that is no text", folder="caf\udce9"),
    Case("from another folder", elsewhere=True),
    Case("umask 077", umask=0o077),
    Case("umask 000", umask=0o000),
    Case("east of everybody", {"TZ": "Pacific/Kiritimati"}),
    Case("west of everybody", {"TZ": "Etc/GMT+12"}),
    Case("an epoch of the build's own", {"SOURCE_DATE_EPOCH": "0"}),
    Case("inputs of 1970", prepare=_old),
    Case("inputs of 2242", prepare=_future),
    Case("hash seed 0", {"PYTHONHASHSEED": "0"}),
    Case("hash seed 4711", {"PYTHONHASHSEED": "4711"}),
    Case("optimized", flags=("-OO",)),
    Case("development mode", flags=("-X", "dev")),
    Case("no home", {"HOME": None, "USER": None, "LOGNAME": None}),
    Case("another home, another user", {"HOME": "/nonexistent", "USER": "nobody"}),
    Case("a narrow terminal", {"COLUMNS": "20", "TERM": "dumb"}),
    Case("colour asked for", {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TERM": "xterm-256color"}),
    Case("GitHub Actions", {"CI": "true", "GITHUB_ACTIONS": "true"}),
    Case("one processor", wrap=("taskset", "--cpu-list", "0")),
    Case("inputs behind symbolic links", prepare=_links),
    Case("inputs with a second name", prepare=_hard_links),
    Case("inputs written in another order", prepare=_other_order),
    Case("inputs that only their owner reads", prepare=_private),
    Case("inputs that anyone executes", prepare=_executable),
    Case("no place for temporary files", {"TMPDIR": "/nonexistent"}),
]


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of the locales that cases ask for, made here: a machine seldom has them."""
    folder = tmp_path_factory.mktemp("locales")
    require(
        shutil.which("localedef") and Path("/usr/share/i18n/charmaps").is_dir(), "localedef and its charmaps"
    )
    for name in (LATIN, TURKISH):
        source, _, charmap = name.partition(".")
        subprocess.run(
            ["localedef", "--no-archive", "-i", source, "-f", charmap, str(folder / name)],
            check=False,  # warnings end it with 1
            capture_output=True,
        )
        assert (folder / name / "LC_CTYPE").exists(), name
    return folder


def _guest(folder: Path) -> None:
    os.makedirs(os.fsencode(folder), exist_ok=True)
    (folder / "guest.toml").write_text(MANIFEST.replace("LINE", LINE), encoding="utf-8")
    (folder / "hello.fd").write_bytes((ROOT / "guests/hello/hello.fd").read_bytes())
    (folder / "vmlinuz").write_bytes(b"kernel" * 5000)
    (folder / "größe.img").write_bytes(b"initrd" * 3000)


def _tree(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each file's path and digest."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()


def _outcome(case: Case, place: Path, locales: Path) -> dict[str, str]:
    """Return the digests of everything that the case wrote; `error` where it did not end well."""
    folder = place / case.folder
    _guest(folder)
    if case.prepare is not None:
        case.prepare(folder)
    out = place / "out"
    out.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LOCPATH": str(locales), "LC_ALL": "C.UTF-8"}
    for name in ("COLUMNS", "GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "PYTHONHASHSEED"):
        environment.pop(name, None)
    for name, value in case.environment.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    manifest = os.path.join(case.folder, "guest.toml") if case.elsewhere else "guest.toml"
    command = [*case.wrap, sys.executable, *case.flags, "-c", DRIVER, manifest, str(out)]
    result = subprocess.run(
        [os.fsencode(word) for word in command],
        cwd=os.fsencode(place if case.elsewhere else folder),
        env=environment,
        umask=case.umask,
        check=False,
        capture_output=True,
    )
    if result.returncode:
        return {"error": (result.stdout + result.stderr).decode("utf-8", "backslashreplace")[-2000:]}
    return dict(_tree(out))


@pytest.fixture(scope="module")
def first(locales: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what the first case wrote."""
    return _outcome(CASES[0], tmp_path_factory.mktemp("first"), locales)


def test_there_are_forty_cases_and_more() -> None:
    assert len({case.name for case in CASES}) >= 40


def test_the_first_case_wrote_everything(first: dict[str, str]) -> None:
    assert "error" not in first, first["error"]
    assert {"measure.json", "lock", "release/reference-values.json", "bundle/bundle.json"} <= set(first)
    assert len(first) > 40


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.name)
def test_the_same_bytes(case: Case, first: dict[str, str], locales: Path, tmp_path: Path) -> None:
    found = _outcome(case, tmp_path, locales)
    assert "error" not in found, found["error"]
    left_out = {NAMES_THE_BUNDLE} | (RELATIVE if case.elsewhere else set())
    assert {name: digest for name, digest in found.items() if name not in left_out} == {
        name: digest for name, digest in first.items() if name not in left_out
    }
