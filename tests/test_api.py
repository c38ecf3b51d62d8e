"""The Python API: its page runs, it has the names that are promised, and costs nothing until it is used."""

from __future__ import annotations

import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sevbuild
from tests.support.shared import ROOT

PAGE = ROOT / "docs" / "api.md"


def test_every_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "guests", tmp_path / "guests")
    monkeypatch.chdir(tmp_path / "guests")
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert tried > 10
    assert not failed


def test_every_name_is_on_the_page_and_has_a_home() -> None:
    page = PAGE.read_text()
    for name in sevbuild.__all__:
        found = getattr(sevbuild, name)
        assert found.__name__ == name
        assert found.__doc__
        assert re.search(rf"\b{name}\b", page), name
    assert sorted(sevbuild.__all__) == sevbuild.__all__
    assert set(dir(sevbuild)) == {*sevbuild.__all__, "__version__"}


def test_every_name_that_the_page_uses_is_promised() -> None:
    assert set(re.findall(r"\bsevbuild\.(\w+)", PAGE.read_text())) <= set(sevbuild.__all__)


def test_another_name_is_none() -> None:
    with pytest.raises(AttributeError, match="module 'sevbuild' has no attribute 'measurement'"):
        _ = sevbuild.measurement


def test_importing_it_loads_nothing() -> None:
    script = (
        "import sys; before = set(sys.modules); import sevbuild; print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert set(result.stdout.split()) <= {"sevbuild", "__future__"}


@pytest.mark.parametrize("name", sevbuild.__all__)
def test_a_name_is_had_without_any_other(name: str) -> None:
    command = [sys.executable, "-c", f"from sevbuild import {name}"]
    subprocess.run(command, check=True, cwd=ROOT)


def test_a_type_checker_knows_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "use.py"
    path.write_text(
        "import sevbuild\n"
        "for measured in sevbuild.load_guest('guest.toml').measure():\n"
        "    digest: bytes = measured.digest\n"
        "values: sevbuild.ReferenceValues = sevbuild.read_reference_values('release')\n"
        "label: int = sevbuild.recompute(values, vcpus=[1])[0].label\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(ROOT / ".mypy_cache"), str(path)]
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert re.findall(r":(\d+): error: (.*?)  ", result.stdout) == [
        ("5", 'Incompatible types in assignment (expression has type "str", variable has type "int")')
    ]
