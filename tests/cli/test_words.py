"""No command line ends a run in another way than the README says, or shows anything that acts."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.cli.app import build_program
from tests.support.cli import run
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello"
ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]|(?m:^\\s*::)|##\\[")
VALUES = [
    "", "x", "-", "guest.toml", "reference-values.json", "hello.fd", "guest.lock", ".", "out", "out/", "nope",
    "hex", "json", "table", "1", "0", "-1", "0x10", "1-4", "[1, 2]", "9" * 20, "a=b", "=", "vcpu.count=2",
    "launch.mode=sev", "kernel.cmdline=\x1b[31m", "\x1b[2J\u202e", "\n::error::x", "::x", "##[x]", "é€", "\udcff", "*",
    "snp/qemu/*", "all", "EPYC-v4", "qemu", "@guest.toml", "@nope", "~", "a" * 300, "--", "-q", "ab" * 48,
]  # fmt: skip
KEPT = ("qemu-args", "export", "schema", "import", "init")
"""What prints something to be kept, as it is."""


def _verbs(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    if path:
        yield path, command.params
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from _verbs(command.get_command(None, name), (*path, name))


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Draw a verb with options and arguments of its own, and values that fit or do not."""
    verb, parameters = draw(st.sampled_from(list(_verbs(build_program()))))
    words = list(verb)
    for parameter in draw(st.lists(st.sampled_from(parameters), max_size=5)):
        if parameter.param_type_name == "option":
            words.append(draw(st.sampled_from(parameter.opts)))
        if not getattr(parameter, "is_flag", False):
            words.append(
                draw(
                    st.sampled_from(VALUES)
                    | st.text(max_size=8).filter(lambda text: not {"\0", "/"} & set(text))
                )
            )
    return words


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return the current folder of these runs, with a guest in it."""
    place = tmp_path_factory.mktemp("words")
    for name in ("guest.toml", "guest.lock", "hello.fd", "reference-values.json"):
        shutil.copy(HELLO / name, place / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("SEVBUILD_CACHE", os.fspath(place / "cache"))
        yield place


@pytest.mark.slow
@given(words=command_lines())
@settings(max_examples=200)
def test_every_command_line_ends_as_a_run_may(folder: Path, words: list[str]) -> None:
    assert folder.is_dir()
    result = run(*words)
    assert result.status in (0, 1, 2), result
    assert not ACTS.search(result.err)
    if words[0] not in KEPT:
        assert not ACTS.search(result.out)
    if result.status == 2:
        assert result.err.startswith("Usage: ") or "error: " in result.err
    if result.status == 0 and ("-h" in words or "--help" in words):
        assert result.out.startswith("Usage: ")
