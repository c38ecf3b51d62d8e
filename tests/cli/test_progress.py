"""Long work shows how far it is, on a terminal alone, and leaves nothing there."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sevbuild.cli import main, progress, report
from sevbuild.cli.progress import clear_lines, show_progress
from sevbuild.progress import counting, metering
from sevbuild.text import visible
from tests.bundle.support import build, manifest_of
from tests.support.igvm import write_large
from tests.support.shared import ROOT
from tests.support.terminal import left_on_screen


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@contextmanager
def _terminal() -> Iterator[io.StringIO]:
    """Give standard error that is a terminal, on which all is shown at once."""
    stream = _Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        patch.setattr(progress, "_FIRST", 0.0)
        patch.setattr(progress, "_EVERY", 0.0)
        patch.setenv("TERM", "xterm")
        patch.setenv("NO_COLOR", "1")
        yield stream
        clear_lines(forget=True)


def _lines(terminal: io.StringIO) -> list[str]:
    """Return each line that was drawn, without its bar, and check that none of them is left."""
    shown = terminal.getvalue()
    assert left_on_screen(shown) == ""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", "\n", shown)
    return list(
        dict.fromkeys(re.sub(r" +[\u2500-\u257f]* +", "  ", line) for line in plain.split("\n") if line)
    )


def test_a_download_shows_name_size_and_share() -> None:
    with _terminal() as terminal:
        with show_progress("https://host/a/OVMF.fd?token=secret") as draw:
            draw(1_500_000, 3_000_000)
        assert _lines(terminal) == ["OVMF.fd  1.5 of 3.0 MB, 50 %"]
    with _terminal() as terminal:
        with show_progress("https://host/") as draw, show_progress("/boot/init?rd") as other:
            draw(1_500_000, None)
            other(0, 0)
        assert {line.strip() for line in _lines(terminal)} == {"https://host/  1.5 MB", "init?rd  0.0 MB"}
    with _terminal() as terminal:
        with show_progress("bundle", unit="targets") as draw:
            draw(3, 960)
        assert _lines(terminal) == ["bundle  3 of 960 targets"]


@pytest.mark.parametrize("name", ["a\x1b[2Jb" * 9, "[bold]{task.id}[red]", "\u865a\u62df\u673a" * 9])
def test_names_do_not_act_on_a_terminal_and_the_line_fits(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from rich.cells import cell_len

    monkeypatch.setenv("COLUMNS", "20")
    with _terminal() as terminal:
        with show_progress(name) as draw:
            draw(1, 1)
        lines = _lines(terminal)
    assert max(map(cell_len, lines)) <= 20
    assert all(map(str.isprintable, lines))
    monkeypatch.setenv("COLUMNS", "100")
    with _terminal() as terminal:
        with show_progress(name) as draw:
            draw(1, 1)
        assert _lines(terminal)[0].startswith(visible(name)[-40:])


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with show_progress("kernel") as draw:
        draw(1, 2)
        draw(2, 2)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("stream", "term", "shown"),
    [(_Terminal(), "xterm", True), (_Terminal(), "dumb", False), (io.StringIO(), "xterm", False)],
)
def test_only_terminals_are_drawn_on(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, term: str, *, shown: bool
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", term)
    assert (report.shown_progress() is not None) == shown


def test_a_message_stands_on_a_line_of_its_own() -> None:
    with _terminal() as terminal:
        with show_progress("kernel") as draw:
            draw(1_000_000, None)
            assert "1.0 MB" in left_on_screen(terminal.getvalue())
            report.print_message("waiting for somebody")
            assert left_on_screen(terminal.getvalue()) == "waiting for somebody"
            draw(2_000_000, None)
            first, second = left_on_screen(terminal.getvalue()).splitlines()
            assert (first, "2.0 MB" in second) == ("waiting for somebody", True)
            clear_lines()
            clear_lines()
        assert left_on_screen(terminal.getvalue()) == "waiting for somebody"


def test_what_is_no_longer_waited_for_is_silent() -> None:
    with _terminal() as terminal:
        with show_progress("kernel") as draw:
            draw(1_000_000, None)
            clear_lines(forget=True)
            draw(2_000_000, None)
        assert "1.0 MB" in terminal.getvalue()
        assert "2.0 MB" not in terminal.getvalue()
        assert left_on_screen(terminal.getvalue()) == ""


def test_the_cursor_stays_and_colours_are_as_wanted() -> None:
    with _terminal() as terminal:
        for when in ("auto", "always"):
            report.set_color(when)
            shown = report.shown_progress()
            assert shown is not None
            with shown("kernel") as draw:
                draw(1_000_000, 2_000_000)
            assert (re.search(r"\x1b\[[0-9;]*m", terminal.getvalue()) is not None) == (when == "always")
        report.set_color("auto")
    assert "\x1b[?25l" not in terminal.getvalue()


def test_threads_share_the_line() -> None:
    def work(name: str) -> None:
        with show_progress(name) as draw:
            for done in range(200):
                draw(done * 1_000_000, 200_000_000)

    threads = [threading.Thread(target=work, args=(f"part-{number}",)) for number in range(8)]
    with _terminal() as terminal:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert left_on_screen(terminal.getvalue()) == ""
    assert not progress._lines._tasks


def test_pieces_are_counted(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []

    class Show:
        def __call__(self, name: str, *, unit: str = "bytes") -> object:
            assert (name, unit) == (paths[0], "bytes")
            return self

        def __enter__(self) -> object:
            return lambda have, total: seen.append((have, total))

        def __exit__(self, *_: object) -> None:
            pass

    paths = [str(tmp_path / "one"), str(tmp_path / "two")]
    for path in paths:
        Path(path).write_bytes(bytes(10))
    for given, size, total in ((paths, None, 20), (paths[:1], 7, 7), ([paths[0], "/dev/null"], None, None)):
        with counting(Show(), given, size) as count:  # type: ignore[arg-type]
            count(memoryview(bytes(4)))
            count(memoryview(bytes(3)))
        assert seen == [(4, total), (7, total)]
        seen.clear()
    with metering(None, "nobody looks") as meter:
        meter(1, 2)


def _on_a_terminal(*arguments: str) -> tuple[str, str, int]:
    """Return what a run shows on a terminal as its standard error, its standard output, its exit code."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "sevbuild", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            ready, _, _ = select.select([ours], [], [], 60)
            assert ready, "nothing was shown for a minute"
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:
                # How Linux says that nobody has the other end any more.
                break
            if not piece:
                break
            shown += piece
        out, _ = process.communicate()
    os.close(ours)
    return shown.decode(), out, process.returncode


SEEN = {
    "measure": ["-q"],
    "lock": [],
    "plan": ["-q"],
    "publish": ["-q", "-o", "release"],
    "export": ["-q", "--format", "hex"],
    "build": ["-q", "-o", "dist"],
    "build --no-copy": ["-q", "-o", "dist"],
}


@pytest.mark.parametrize("verb", SEEN)
def test_every_verb_that_hashes_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    manifest = manifest_of(tmp_path)
    os.truncate(tmp_path / "initrd", 3_000_000)
    monkeypatch.chdir(tmp_path)
    shown = _shown(*verb.split(), str(manifest), *SEEN[verb])
    # An initrd of two files has the name of the first.
    assert re.search(r"ucode +\S* +\d\.\d of 3\.0 MB, \d+ %", shown), shown
    assert ("2 of 2 targets" in shown) == verb.startswith("build")
    assert left_on_screen(shown) == {"lock": f"wrote {tmp_path / 'guest.lock'}"}.get(verb, "")


def test_check_says_it_before_it_says_what_is_wrong(tmp_path: Path) -> None:
    shown = _shown("check", "-q", str(manifest_of(tmp_path)), status=2)
    seen = re.search(r"ucode +\S* +\d\.\d of 0\.1 MB, \d+ %", shown)
    assert seen is not None
    assert seen.end() < shown.index("error: ")
    assert left_on_screen(shown).startswith("error: ")


def test_a_bundle_and_a_file_of_somebody_say_it_too(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    build(manifest, tmp_path / "dist")
    assert re.search(r"initrd +\S* +0\.1 of 0\.1 MB", _shown("verify", str(tmp_path / "dist")))
    (tmp_path / "cpio").write_bytes(b"070701" + bytes(200_000))
    assert re.search(r"cpio +\S* +0\.2 of 0\.2 MB", _shown("inspect", str(tmp_path / "cpio")))


def _shown(*arguments: str, status: int = 0) -> str:
    with _terminal() as terminal:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", io.StringIO())
            with pytest.raises(SystemExit) as ended:
                main(list(arguments))
        assert (ended.value.code or 0) == status, terminal.getvalue()
        return terminal.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["measure", "lock"])
def test_hashing_a_large_initrd_is_seen(tmp_path: Path, verb: str) -> None:
    manifest = manifest_of(tmp_path)
    os.truncate(tmp_path / "initrd", 1536 << 20)
    words = {"measure": ["-q", "--expect", "0" * 96, "--target", "vcpus1"], "lock": []}[verb]
    shown, out, status = _on_a_terminal(verb, str(manifest), *words)
    assert (status, out) == ((1, "") if verb == "measure" else (0, "")), shown
    assert re.search(r"ucode +\S* +\d+\.\d of 1610\.6 MB, \d+ %", shown), shown
    assert left_on_screen(shown).startswith({"measure": "error: ", "lock": "wrote "}[verb])


def test_an_igvm_file_says_how_many_of_its_pages_are_hashed(tmp_path: Path) -> None:
    write_large(str(tmp_path / "one.igvm"), 1, os.urandom)
    shown = _shown("measure", "-q", str(tmp_path / "one.igvm"), "--loader", "igvm-reference")
    assert re.search(r"one\.igvm +\S* +\d+\.\d of \d+\.\d MB, \d+ %", shown), shown
