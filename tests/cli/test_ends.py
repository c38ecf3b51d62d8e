"""How a run ends: unforeseen errors and odd streams, seen from within."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest
from tests.support.pe import make_uki
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello" / "guest.toml"


def _raise(kind: type[BaseException]) -> Any:
    def raised(*_: object, **__: object) -> None:
        raise kind

    return raised


@pytest.mark.parametrize(
    "kind", [MemoryError, RecursionError, EOFError, BrokenPipeError, AssertionError, GeneratorExit]
)
def test_what_nobody_expected_is_an_internal_error(
    kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sevbuild.guest.guest.load_guest", _raise(kind))
    result = run("measure", HELLO)
    assert (result.status, result.out) == (70, "")
    assert f"error: internal error: {kind.__name__}\n  hint: this is a bug in sevbuild " in result.err


def test_an_error_in_a_thread_is_no_other_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "kernel").write_bytes(b"kernel")
    manifest = write_manifest(
        tmp_path, firmware={"path": "OVMF.fd"}, kernel={"path": "kernel"}, launch={"mode": "sev"}
    )
    assert run("measure", manifest).status == 0
    monkeypatch.setattr("sevbuild.guest.inputs.hash_files", _raise(MemoryError))
    result = run("measure", manifest)
    assert result.status == 70
    assert "error: internal error: MemoryError" in result.err


def test_an_error_that_cannot_be_told_has_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sevbuild.guest.guest.load_guest", _raise(MemoryError))
    monkeypatch.setattr("sevbuild.cli.internal_error.print_internal_error", _raise(MemoryError))
    assert run("measure", HELLO).status == 70


def test_an_error_whose_printing_fails_is_an_internal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sevbuild.cli.report.print_error", _raise(ZeroDivisionError))
    result = run("measure", "nowhere")
    assert result.status == 70
    assert "ZeroDivisionError" in result.err


def test_where_to_report_comes_from_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from email.message import Message
    from importlib import metadata

    found = Message()
    monkeypatch.setattr(metadata, "metadata", lambda _: found)
    monkeypatch.setattr("sevbuild.guest.guest.load_guest", _raise(MemoryError))
    assert run("measure", HELLO).err.endswith(" to its maintainers, as docs/security.md says\n")
    found["Project-URL"] = "Issues, https://example.org/issues"
    assert run("measure", HELLO).err.endswith(" at https://example.org/issues\n")

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", missing)
    assert run("measure", HELLO).err.endswith(" to its maintainers, as docs/security.md says\n")


def test_the_end_of_a_run_is_silent(tmp_path: Path) -> None:
    image = make_uki([(".linux", b"k" * 600), (".initrd", b"i" * 600), (".cmdline", b"quiet\0")])
    (tmp_path / "image.efi").write_bytes(image)
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    kernel = {"uki": "image.efi", "uki-as": "parts"}
    manifest = write_manifest(tmp_path, firmware={"path": "OVMF.fd"}, kernel=kernel, launch={"mode": "sev"})
    for path in (HELLO, manifest):
        command = [sys.executable, "-m", "sevbuild", "measure", "-q", str(path)]
        result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        assert result.stderr == ""


def test_a_pipe_that_does_not_block_is_written_whole() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    command = [
        sys.executable,
        "-m",
        "sevbuild",
        "measure",
        "-q",
        str(ROOT / "guests" / "fleet" / "guest.toml"),
    ]
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE, cwd=ROOT) as process:
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            lines = stream.read().splitlines()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert (process.returncode, len(lines)) == (0, 960)


def test_utf8_mode_that_is_switched_off_by_hand_is_said(tmp_path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-X", "utf8=0", "-m", "sevbuild", "measure", str(tmp_path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert result.returncode == 2
    assert result.stderr.startswith("error: file names are ascii here")


def test_an_interpreter_that_cannot_be_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from sevbuild.cli import main

    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(SystemExit) as ended:
        main()
    gc.unfreeze()
    gc.enable()
    assert ended.value.code == 2


def test_streams_of_a_caller_stay_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from sevbuild.cli import main

    out = io.BytesIO()
    stream = io.TextIOWrapper(out, encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as ended:
        main(["measure", "-q", str(HELLO), "-f", "json", "--set", "guest.version=größe €"])
    gc.enable()
    assert ended.value.code == 0
    assert sys.stdout is stream
    assert "größe €".encode() in out.getvalue()
