"""The house keeps its rules: who imports whom, what a measurement loads, how long a module is."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.house import (
    FLOOR,
    MODULES,
    ORDER,
    PACKAGE,
    ROOMS,
    imports_of,
    named_profiles,
    room_of,
    violations,
)
from tests.support.shared import ROOT

HEAVY = ["lief", "platformdirs", "ssl", "cryptography", "cbor2", "rich", "pydantic", "jinja2"]
IMPERATIVES = re.compile(
    r"(Ask|Bring|Check|Choose|Collect|Compute|Connect|Declare|Describe|Find|Give|Hash|Have|Hold|Import|Judge|Keep|"
    r"Know|Lay|Look|Make|Mark|Model|Move|Name|Number|Parse|Put|Raise|Read|Render|Report|Return|Say|Show|Shut|Stand|"
    r"Store|Take|Tell|Turn|Walk|Write|Yield)\b"
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_module_keeps_to_its_room(path: Path) -> None:
    room = room_of(path)
    assert room in (*ORDER, "__init__", "__main__")
    assert violations(room, ast.parse(path.read_text()), str(path.relative_to(PACKAGE))) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_text_says_the_same_words_twice_in_a_row(path: Path) -> None:
    """What a replacement made over and over leaves behind reads so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.search(r"\b(\w+(?: \w+)+) \1\b", node.value), node.value


@pytest.mark.parametrize(
    ("room", "text"),
    [
        ("reference", "from sevbuild.fs import read_file\n"),
        ("bundle", "from sevbuild.launch.planner import Planner\n"),
        ("bundle", "def verify():\n    from sevbuild.measure.tree import LaunchTree\n"),
        ("manifest", 'hint = "such" if profile.lineage[0] == "qemu" else ""\n'),
        ("guest", 'chosen = profile in ("gce", "ec2")\n'),
        ("cli", "from hashlib import sha384\n"),
        ("igvm", "import hashlib\n"),
        ("igvm", "data = open(path).read()\n"),
        ("launch", "print(plan)\n"),
        ("launch", "import os.path\n"),
        ("measure", "from sevbuild.image.ovmf import parse_firmware\n"),
        ("image", "from sevbuild.manifest.model import Variant\n"),
        ("output", "from sevbuild.documents.json_text import json_text\n"),
        ("fs", "from sevbuild.output.file import write_file\n"),
        ("documents", "from sevbuild.fs import read_text\n"),
        ("network", "from sevbuild.manifest.model import Manifest\n"),
        ("appraise", "from sevbuild.measure.tree import LaunchTree\n"),
        ("attest", "from sevbuild.reference.model import Value\n"),
        ("attest", "from datetime import datetime\n\nnow = datetime.now()\n"),
        ("identity", "from sevbuild.manifest.model import Manifest\n"),
        ("identity", "from os import urandom\n"),
        ("commands", "from sevbuild.bundle.layout import DOCUMENT\n"),
        ("diagnose", "import typer\n"),
        ("diagnose", 'era = "old" if profile.name == "ec2" else ""\n'),
        ("picture", "from hashlib import sha384\n"),
        ("picture", "from sevbuild.manifest.model import Variant\n"),
    ],
)
def test_what_a_room_may_not_do_is_seen(room: str, text: str) -> None:
    assert violations(room, ast.parse(text))


def test_the_architecture_has_the_same_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(
        r"^\| (`[^|]*`) \| [^|]+ \| ?([^|]*?) ?\|$", page.partition("## Invariants")[0], re.MULTILINE
    )
    said = {tuple(re.findall(r"`(\w+)(?:/|\.py)`", names)): words for names, words in rows}
    assert [room for rooms in said for room in rooms] == list(ORDER)
    assert {rooms: words for rooms, words in said.items() if rooms != FLOOR} == {
        (name,): room.may_not for name, room in ROOMS.items()
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_profiles_are_named_in_data_alone(path: Path) -> None:
    assert named_profiles(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('def load():\n    return load_profile("gce")\n', ["gce"]),
        ("def load():\n    hint = f'{name}: \"svsm-qemu\" does'\n", ["svsm-qemu"]),
        ('class Reader:\n    profile = "ec2"\n', ["ec2"]),
        ('DEFAULT = "qemu"\nNAMES: Names = {"ec2": "ec2"}\n', []),
        ('def load():\n    """Return "gcee", as on ec2."""\n    return load_profile("qemu-kvm")\n', []),
    ],
)
def test_a_profile_named_in_code_is_seen(text: str, names: list[str]) -> None:
    assert named_profiles(ast.parse(text)) == names


def test_every_exception_is_needed() -> None:
    for room in ROOMS.values():
        for name, module in room.excepted:
            assert module in set(imports_of(ast.parse((PACKAGE / name).read_text())))


@cache
def _own_errors() -> frozenset[str]:
    """Return the names of the classes that derive from the one exception base."""
    classes = [
        node
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    found, more = set[str](), {"SevbuildError"}
    while more:
        found |= more
        more = {node.name for node in classes if found & {ast.unparse(base) for base in node.bases}} - found
    return frozenset(found)


def _new_errors_of_old(tree: ast.AST) -> list[str]:
    """Return each `raise` of another error in a handler of our own, which is to say more of that one."""
    found = []
    for handler in ast.walk(tree):
        if not isinstance(handler, ast.ExceptHandler):
            continue
        caught = {node.id for node in ast.walk(handler.type or handler) if isinstance(node, ast.Name)}
        for node in ast.walk(handler) if caught & _own_errors() else ():
            raised = node.exc if isinstance(node, ast.Raise) else None
            while isinstance(raised, ast.Call | ast.Attribute):
                raised = raised.func if isinstance(raised, ast.Call) else raised.value
            if raised is not None and not (isinstance(raised, ast.Name) and raised.id == handler.name):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_errors_are_not_wrapped_anew(path: Path) -> None:
    # A new error of the message of another loses its class, its exit code, its hint and its status.
    assert _new_errors_of_old(ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    ("raised", "found"),
    [
        ("raise SevbuildError(f'{name}: {error.message}') from None", True),
        ("raise foreign(str(error), hint=error.hint)", True),
        ("raise OSError(error.message) from None", True),
        ("first = error.message\n    raise SevbuildError(first)", True),
        ("raise error.within(name).within(path) from None", False),
        ("raise", False),
        ("return error.message", False),
    ],
)
@pytest.mark.parametrize("caught", ["MismatchError", "(KeyError, LaunchError)"])
def test_an_error_wrapped_anew_is_seen(raised: str, found: bool, caught: str) -> None:
    tree = ast.parse(f"try:\n    work()\nexcept {caught} as error:\n    {raised}\n")
    assert bool(_new_errors_of_old(tree)) is found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_decided_by_what_an_error_says(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        # `error.message.startswith(...)`, `"..." in error.message`
        for part in ast.iter_child_nodes(node) if isinstance(node, ast.Compare | ast.Attribute) else ():
            assert not (isinstance(part, ast.Attribute) and part.attr == "message"), ast.unparse(node)


def test_no_module_needs_itself() -> None:
    """Whoever reads a module reads what it imports first.

    One of each pair below knows the other for a type alone, or loads it when it is asked for.
    """
    known = {
        ("manifest.unused", "manifest.targets"),
        ("reference.export.interface", "reference.export.signing"),
        ("cli.help", "cli.parser"),
        ("cli.complete", "cli.app"),
    }
    names = {
        ".".join(("sevbuild", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in MODULES
    }
    imports = {
        name: set(imports_of(ast.parse(path.read_text()))) & set(names) for name, path in names.items()
    }
    for name, other in known:
        imports[f"sevbuild.{name}"].remove(f"sevbuild.{other}")
    TopologicalSorter({name: found - {name} for name, found in imports.items()}).prepare()


def test_objects_are_keys_themselves() -> None:
    # A map by `id(...)` needs something else that keeps its objects alive; the tree has that.
    users = {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "id"
    }
    assert users == {"measure/tree.py"}


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
    others = (
        "sevbuild.igvm",
        "sevbuild.guest.foreign",
        "sevbuild.attest",
        "sevbuild.identity",
        "sevbuild.appraise",
        "sevbuild.diagnose",
        "sevbuild.picture",
    )
    assert not [name for name in modules if name.startswith(others)]
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


def test_nothing_that_was_only_tried_is_kept() -> None:
    """Binaries of others, and large files, are fetched where they are needed and never committed."""
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True, cwd=ROOT)
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert len(names) > len(MODULES)
    large = [name for name in names if (ROOT / name).stat().st_size > 1 << 20]
    binary = [name for name in names if b"\0" in (ROOT / name).read_bytes()]
    assert large == []
    assert [name for name in binary if not name.startswith("tests/data/")] == ["guests/hello/hello.fd"]


ONE_HOME = {
    r"sys\.stdin\.": {"fs.py"},
    r"sys\.stderr|sys\.stdout\.write|\bprint\(|typer\.echo": {
        "cli/github.py",
        "cli/internal_error.py",
        "cli/report.py",
        "cli/streams.py",
    },
    r"surrogateescape": {"text.py"},
    r"os\.fsdecode": {"fs.py"},
    r"""\+ b(['"])\\0\1|\+ b(['"])\\x00\2""": {"image/kernel_hashes.py"},
}
"""What is done in these modules alone: reading standard input, writing to people, taking bytes for text,
ending a command line with the NUL under which it is measured."""


@pytest.mark.parametrize("pattern", ONE_HOME)
def test_each_edge_has_one_home(pattern: str) -> None:
    homes = {str(path.relative_to(PACKAGE)) for path in MODULES if re.search(pattern, path.read_text())}
    assert homes == ONE_HOME[pattern]


def test_a_second_digest_of_a_command_line_is_seen() -> None:
    (pattern,) = (pattern for pattern, homes in ONE_HOME.items() if homes == {"image/kernel_hashes.py"})
    assert re.search(pattern, 'return sha256(value["cmdline"].encode() + b"\\0").hexdigest()')


def test_only_who_publishes_reference_values_knows_their_json() -> None:
    """Exporters, releases, comparisons and verbs take typed values; what is decoded once stays decoded."""
    published = {"reference_document", "value_entry"}
    writers = {"bundle/document.py", "cli/inspect.py", "reference/export/in_toto.py", "reference/results.py"}
    found = set()
    for path in MODULES:
        name, text = str(path.relative_to(PACKAGE)), path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module == "sevbuild.reference.document":
                found |= {name for alias in node.names if alias.name in published}
        # A digest in words is expected of a run; no other module of the room makes bytes or numbers of text.
        if room_of(path) == "reference" and name != "reference/expected.py":
            assert not re.search(r"fromhex|\bint\(.*, 16\)", text), name
    assert found == writers


def test_every_name_that_the_architecture_gives_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    section = page.partition("## Where is it?\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 30
    for row in rows:
        names = re.findall(r"`([\w/]+)\.py:([\w.]+)`", row)
        assert names, row
        for module, name in names:
            found: object = import_module("sevbuild." + module.replace("/", "."))
            for part in name.split("."):
                assert hasattr(found, part), f"{module}.py:{name}"
                found = getattr(found, part)
