"""The house keeps its rules: who imports whom, what a measurement loads, how long a module is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shared import ROOT

PACKAGE = ROOT / "sevbuild"
MODULES = sorted(PACKAGE.rglob("*.py"))
ORDER = [
    "cli",
    "bundle",
    "reference",
    "commands",
    "guest",
    "manifest",
    "igvm",
    "measure",
    "launch",
    "image",
    "vcpu",
    "network",
    "documents",
    "output",
    "fs",
    "kind",
    "text",
    "progress",
    "environment",
    "errors",
]
"""From the top down; a folder imports from itself and from those after it."""

HEAVY = ["lief", "platformdirs", "ssl", "cryptography", "cbor2", "rich", "pydantic", "jinja2"]
IMPERATIVES = re.compile(
    r"(Ask|Bring|Check|Choose|Collect|Compute|Connect|Declare|Describe|Find|Give|Hash|Have|Hold|Import|Judge|Keep|"
    r"Know|Lay|Look|Make|Mark|Model|Move|Name|Number|Parse|Put|Raise|Read|Render|Report|Return|Say|Show|Shut|Stand|"
    r"Store|Take|Tell|Turn|Walk|Write|Yield)\b"
)
PURE = ["igvm", "measure", "launch", "image", "vcpu"]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room not in ORDER:
        assert room in ("__init__", "__main__")
        return
    for module in _imports(path):
        if module.startswith("sevbuild.") and _room(module) in ORDER:
            assert ORDER.index(_room(module)) >= ORDER.index(room), f"{room} imports {module}"


@pytest.mark.parametrize("room", PURE)
def test_the_core_touches_no_files_clocks_or_terminals(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        modules = {module.split(".")[0] for module in _imports(path)}
        assert not modules & {"os", "sys", "time", "datetime", "pathlib", "socket", "subprocess"}, path
        assert "sevbuild.fs" not in set(_imports(path)), path
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"open", "print", "input"}, path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_stay_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree)
    assert docstring
    # Every public module lists its names.
    if path.name not in ("__init__.py", "__main__.py"):
        names = [
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        assert "__all__" in names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_classes_are_described_by_what_they_are(path: Path) -> None:
    """A function does something and its docstring is an imperative; a class is something."""
    for node in ast.walk(ast.parse(path.read_text())):
        docstring = ast.get_docstring(node) if isinstance(node, ast.ClassDef) else None
        assert not IMPERATIVES.match(docstring or ""), docstring


def test_a_measurement_loads_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['sevbuild', 'measure', '--quiet', sys.argv[1]]\n"
        "from sevbuild.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(*sorted(sys.modules))"
    )
    manifest = ROOT / "guests" / "hello" / "guest.toml"
    result = subprocess.run(
        [sys.executable, "-c", script, str(manifest)], check=True, capture_output=True, text=True, cwd=ROOT
    )
    digest, loaded = result.stdout.splitlines()
    assert len(digest) == 96
    modules = set(loaded.split())
    assert not [name for name in HEAVY if name in modules]
    # Further modules that only faults, other verbs and other formats need.
    assert (
        not modules
        & {"difflib", "json", "lzma", "uuid", "sevbuild.documents.locate", "sevbuild.image.lint"} - _typers()
    )
    assert not [name for name in modules if name.startswith(("sevbuild.igvm", "sevbuild.guest.foreign"))]
    verbs = {name for name in modules if name.startswith("sevbuild.cli.")}
    own = {"measure", "options"}
    assert verbs == {f"sevbuild.cli.{name}" for name in {*own, "app", "parser", "report", "streams"}}


def _typers() -> set[str]:
    """Return what typer itself loads, which is not ours to choose."""
    script = "import sys, typer; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(result.stdout.split())


def test_the_project_names_no_registry_and_no_machine() -> None:
    words = [
        "pypi" + ".org",
        "pythonhosted" + ".org",
        "deb.debian" + ".org",
        "crates" + ".io",
        "/root" + "/",
        "/work" + "/",
    ]
    listed = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True, cwd=ROOT).stdout
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in (".fd", ".bin") or not path.exists():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not [word for word in words if word in text], name


ONE_HOME = {
    r"sys\.stdin\.": {"fs.py"},
    r"sys\.stderr|sys\.stdout\.write|\bprint\(|typer\.echo": {
        "cli/github.py",
        "cli/internal_error.py",
        "cli/progress.py",
        "cli/report.py",
        "cli/streams.py",
    },
    r"surrogateescape": {"text.py"},
    r"os\.fsdecode": {"fs.py"},
}
"""What is done in these modules alone: reading standard input, writing to people, taking bytes for text."""


@pytest.mark.parametrize("pattern", ONE_HOME)
def test_each_edge_has_one_home(pattern: str) -> None:
    homes = {str(path.relative_to(PACKAGE)) for path in MODULES if re.search(pattern, path.read_text())}
    assert homes == ONE_HOME[pattern]
