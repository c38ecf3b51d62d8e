"""Documents that say what the program does."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
from ruamel.yaml import YAML

import sevbuild
from sevbuild.attest.appraisal_keys import decode_appraisal
from sevbuild.cli import VERBS
from sevbuild.cli.app import build_program
from sevbuild.cli.parser import Verbs
from sevbuild.documents.document import parse_toml
from sevbuild.manifest.decode import decode_manifest
from tests.support.cli import run
from tests.support.guests import guest_of
from tests.support.real import tool
from tests.support.shared import ROOT

PAGES = sorted(
    [
        *(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")),
        *ROOT.glob("docs/*.md"),
    ]
)


def test_generated_pages_are_current() -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_docs.py"), "--check"]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        name, _, anchor = target.partition("#")
        if name.startswith("http"):
            continue
        page = path.parent / name if name else path
        assert page.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
            assert anchor in anchors, target


class Block(NamedTuple):
    """Hold one fenced example: where it stands, its language and its text."""

    place: str
    language: str
    text: str


def _blocks() -> list[Block]:
    found = []
    for path in PAGES:
        text = path.read_text()
        for match in re.finditer(r"^```(\S*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(f"{path.relative_to(ROOT)}:{line}", match[1], match[2]))
    return found


BLOCKS = _blocks()
LANGUAGES = {"", "console", "json", "python", "sh", "text", "toml", "yaml"}


def _of(*languages: str) -> pytest.MarkDecorator:
    blocks = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", blocks, ids=lambda block: block.place)


def test_every_example_has_a_language_that_is_checked() -> None:
    assert {block.language for block in BLOCKS} <= LANGUAGES
    assert {"sh", "console", "toml", "yaml"} <= {block.language for block in BLOCKS}
    # No fence was missed by the expression above.
    fences = sum(len(re.findall(r"^\s*```", path.read_text(), re.MULTILINE)) for path in PAGES)
    assert fences == 2 * len(BLOCKS)


@_of("toml")
def test_toml_in_the_text(block: Block, tmp_path: Path) -> None:
    document = parse_toml(block.text, block.place)
    if {"platform", "published", "minimum-tcb", "checks"} & document.keys():
        assert decode_appraisal(block.text, block.place)
    elif "guest" in document:
        assert decode_manifest(block.text, block.place).variants
    elif "extends" in document:
        (tmp_path / "profile.toml").write_text(block.text)
        launch = {"profile": str(tmp_path / "profile.toml")}
        (target,) = guest_of(tmp_path, launch=launch, firmware={"path": "x"}).targets
        assert target.profile.name == document["name"]


@_of("json", "yaml")
def test_documents_in_the_text(block: Block) -> None:
    assert YAML(typ="safe", pure=True).load(block.text) is not None


def _commands(block: Block) -> str:
    """Return the shell text of an example; in a session it follows the prompt, and > goes on with it."""
    if block.language == "sh":
        return block.text
    lines = re.findall(r"^[$>] (.*)$", block.text, re.MULTILINE)
    assert lines, f"{block.place}: a session without a `$ ` line"
    return "\n".join(lines) + "\n"


@_of("sh", "console")
def test_shell_in_the_text(block: Block) -> None:
    text = _commands(block)
    command = [*tool("shellcheck"), "--shell=bash", "--severity=warning", "-"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, input=text)
    assert result.returncode == 0, result.stdout
    # Every call of ours names a verb and options that there are.
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        for call in re.findall(r"(?:^|[\s(/])sevbuild ([^|&;>)#]*)", line):
            words = shlex.split(call)
            if not words[0].startswith("-"):
                _check_call(block, words)


def _check_call(block: Block, words: list[str]) -> None:
    verb, *rest = words
    # What follows `--` is somebody else's command.
    rest = rest[: rest.index("--")] if "--" in rest else rest
    assert verb in VERBS, f"{block.place}: no verb {verb}"
    wanted = {word.partition("=")[0] for word in rest if word.startswith("-") and word not in ("-", "--")}
    path = [verb]
    if isinstance(build_program().get_command(None, verb), Verbs):
        # One of several verbs below this one.
        assert rest, f"{block.place}: sevbuild {verb} is called with nothing"
        path.append(rest[0])
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", run(*path, "--help").out))
    assert wanted <= known, f"{block.place}: sevbuild {' '.join(path)} has no {wanted - known}"


def test_the_readme_names_every_verb() -> None:
    readme = (ROOT / "README.md").read_text()
    for verb in VERBS:
        assert f"`sevbuild {verb}" in readme


def test_the_makefile_has_what_the_pages_name() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in PAGES:
        named = set(re.findall(r"(?:^|`)(?:\w+=\d )?make ([a-z][\w-]*)", path.read_text(), re.MULTILINE))
        assert named <= targets, path.name


def test_the_changelog_has_a_date_for_every_version() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", heading) for heading in headings[1:]]
    assert all(released)
    assert released[0] is not None
    assert released[0][1] == sevbuild.__version__ == version("sevbuild")


def test_files_that_the_architecture_names_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for name in re.findall(r"`((?:tests|launch|measure|docs|tools)/[\w/.]+\.\w+)`", text):
        assert (ROOT / name).exists() or (ROOT / "sevbuild" / name).exists(), name


def test_the_module_is_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sevbuild", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("sevbuild", run_name="__main__")
    assert not ended.value.code
    assert capsys.readouterr().out.startswith("sevbuild ")
