"""A1: an empty value is not an absent one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello"
MANIFEST = HELLO / "guest.toml"
VALUES = HELLO / "reference-values.json"

EMPTY_IS_A_VALUE = {"--cmdline", "--with-cmdline"}
"""With `--set KEY=` and `--extra KEY=`, which are not empty, the only exceptions."""


def _verbs() -> list[str]:
    commands = run("--help").out.rpartition("Commands:")[2] or run("--help").out
    found = [match[1] for match in re.finditer(r"(?m)^  ([a-z-]+)  ", commands)]
    assert {"measure", "publish", "verify"} <= set(found)
    return [verb for verb in found if verb not in ("cache", "help")] + ["cache list", "cache clean"]


def _options(verb: str) -> list[str]:
    """Return every option of a verb's help that takes a value."""
    text = run(*verb.split(), "--help").out
    return re.findall(r"(?m)^  (?:-[a-zA-Z], )?(--[a-z-]+) [^ ]", text)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a bundle that is as it should be."""
    assert run("build", "-q", MANIFEST, "-o", tmp_path / "bundle").status == 0
    return tmp_path / "bundle"


def test_every_option_of_every_verb_refuses_an_empty_value() -> None:
    wrong = []
    seen = 0
    for verb in _verbs():
        for option in set(_options(verb)) - EMPTY_IS_A_VALUE:
            seen += 1
            result = run(*verb.split(), option, "")
            if (result.status, result.err.splitlines()[:1]) != (2, [f"error: {option}: empty"]):
                wrong.append((verb, option))
    assert wrong == []
    assert seen > 60


@pytest.mark.parametrize("option", ["--expect", "--lock", "--target", "--set", "--dump-vmsa", "--loader"])
def test_a_gate_whose_value_is_lost_does_not_open(option: str) -> None:
    result = run("measure", "-q", MANIFEST, option, "")
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"error: {option}: empty\n")


def test_documents_and_bundles_are_held_to_something(bundle: Path) -> None:
    for place in (bundle, VALUES):
        for option in ("--against", "--expect"):
            result = run("verify", place, option, "")
            assert (result.status, result.err.splitlines()[:1]) == (2, [f"error: {option}: empty"])
    assert run("recompute", VALUES, "--expect", "").status == 2
    assert run("check", MANIFEST, "--lock", "").status == 2


@pytest.mark.parametrize("formats", ["", ",", "hex,"])
def test_a_release_is_signed_and_has_the_formats_asked_for(tmp_path: Path, formats: str) -> None:
    for words in (["--sign", ""], ["--formats", formats]):
        result = run("publish", "-q", MANIFEST, "-o", tmp_path / "release", *words)
        assert (result.status, result.err.splitlines()[:1]) == (2, [f"error: {words[0]}: empty"])
        assert not (tmp_path / "release").exists()


def test_what_is_written_goes_where_it_was_told() -> None:
    for words in (["lock", MANIFEST, "-o", ""], ["export", MANIFEST, "-f", "hex", "-o", ""]):
        result = run(*words)
        assert (result.status, result.out) == (2, "")
        assert result.err.startswith("error: --output: empty\n")


@pytest.mark.parametrize(
    "verb", ["measure", "check", "plan", "lock", "verify", "inspect", "recompute", "export"]
)
def test_an_argument_is_not_empty(verb: str) -> None:
    result = run(verb, "")
    assert result.status == 2
    assert re.fullmatch(r"error: [A-Z|]+: empty", result.err.splitlines()[0])


def test_the_empty_command_line_is_not_none(tmp_path: Path) -> None:
    image = standard_firmware()
    (tmp_path / "OVMF.fd").write_bytes(image)
    (tmp_path / "kernel").write_bytes(b"kernel")
    kernel = {"path": "kernel", "cmdline": "quiet"}
    path = write_manifest(tmp_path, firmware={"path": "OVMF.fd"}, kernel=kernel)
    values = tmp_path / "values.json"
    values.write_text(run("measure", "-q", path, "-f", "json").out)
    own, empty = run("recompute", values), run("recompute", values, "--cmdline", "")
    assert empty.out == run("measure", "-q", path, "--set", "kernel.cmdline=").out != own.out
    # Beside a manifest, an empty line is as much a mistake as another.
    for line in ("quiet", ""):
        refused = run("measure", path, "--with-cmdline", line)
        assert (refused.status, refused.out) == (2, "")
        assert "--with-cmdline" in refused.err
