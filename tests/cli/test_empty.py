"""Every option and argument of every verb, taken from the application itself: an empty value is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sevbuild.cli import VERBS
from sevbuild.cli.app import build_program
from sevbuild.cli.parser import EMPTY_VALUES, OLD_SPELLINGS
from tests.support.cli import run
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello" / "guest.toml"

EXCEPTIONS = {
    ("recompute", "--cmdline"),
    *((verb, "--with-cmdline") for verb in ("measure", "plan", "explain", "diff", "replay")),
}
"""Where an empty value is one; `--set KEY=` and `--extra KEY=` are not empty."""


def _parameters(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for parameter in command.params:
        yield path, parameter
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from _parameters(command.get_command(None, name), (*path, name))


PARAMETERS = [
    (path, parameter)
    for path, parameter in _parameters(build_program())
    if not getattr(parameter, "is_flag", False)
]
IDS = [" ".join([*path, parameter.opts[0]]) for path, parameter in PARAMETERS]


def test_every_verb_is_here() -> None:
    assert {path[0] for path, _ in PARAMETERS if path} == set(VERBS)
    assert len(PARAMETERS) > 80


@pytest.mark.parametrize(("path", "parameter"), PARAMETERS, ids=IDS)
def test_an_empty_value_is_refused(path: tuple[str, ...], parameter: Any) -> None:
    option = parameter.param_type_name == "option"
    for name in parameter.opts if option else [""]:
        result = run(*path, *([name, ""] if option else ["", "x"]))
        if (path[0] if path else "", name) in EXCEPTIONS:
            assert ": empty" not in result.err
            continue
        assert (result.status, result.out) == (2, ""), result
        shown = max(parameter.opts, key=len) if option else "[A-Z]"
        assert result.err.startswith(f"error: {shown}: empty\n") or not option
        assert ": empty\n  hint: " in result.err


def test_the_exceptions_are_all_there() -> None:
    known = {(path[0], name) for path, parameter in PARAMETERS for name in parameter.opts if path}
    assert known >= EXCEPTIONS
    assert {name for _, name in EXCEPTIONS} == set(EMPTY_VALUES) == {"--cmdline", "--with-cmdline"}


@pytest.mark.parametrize("value", [",", " ", "hex,", ",hex", "hex,,rvps"])
def test_an_empty_member_of_a_list_is_refused(tmp_path: Path, value: str) -> None:
    result = run("publish", "-q", HELLO, "-o", tmp_path / "release", "--formats", value)
    assert (result.status, result.err.splitlines()[0]) == (2, "error: --formats: empty")
    assert not (tmp_path / "release").exists()


def test_one_empty_value_among_others_is_refused() -> None:
    result = run("measure", HELLO, "--target", "snp/qemu/*", "--target", "")
    assert (result.status, result.err.splitlines()[0]) == (2, "error: --target: empty")


def test_help_is_given_whatever_else_is_empty() -> None:
    assert run("measure", "--expect", "", "--help").status == 0


def test_the_words_of_a_command_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "fw").write_bytes(b"")
    command = ["qemu-system-x86_64", "-bios", "fw", "-kernel", "k", "-append", "", "-cpu", "EPYC-v4"]
    command += ["-object", "sev-snp-guest,id=s", "-machine", "confidential-guest-support=s"]
    result = run("import", "-q", "--", *command)
    assert result.status == 0, result
    assert run("import", "-q", "--", "", *command).status == 2


def test_an_empty_value_of_a_key_is_one() -> None:
    assert run("measure", "-q", HELLO, "--set", "guest.version=").status == 0
    assert ": empty" not in run("export", "-q", HELLO, "-f", "rvps", "--extra", "name=").err


@pytest.mark.parametrize(("old", "new"), OLD_SPELLINGS.items())
def test_an_old_spelling_is_no_way_around(old: str, new: str) -> None:
    result = run("measure", HELLO, old, "")
    assert (result.status, result.err.splitlines()[0]) == (2, f"error: {new}: empty")
