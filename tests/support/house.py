"""The rooms of the house, what each may not do, and how that is seen in a module's syntax."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.shared import ROOT

__all__ = [
    "FLOOR",
    "MODULES",
    "ORDER",
    "PACKAGE",
    "ROOMS",
    "Room",
    "imports_of",
    "named_profiles",
    "room_of",
    "violations",
]

PACKAGE = ROOT / "sevbuild"
MODULES = sorted(PACKAGE.rglob("*.py"))

PROFILES = frozenset(path.stem for path in (PACKAGE / "profiles").glob("*.toml"))

_CLOCKS_AND_PEOPLE = ("sys", "time", "socket", "subprocess")
_FILES = ("os", "pathlib", "shutil", "tempfile", "mmap", "sevbuild.fs", "sevbuild.output")
_EDGES = ("open", "print", "input", "now", "today")
_DIGESTS = ("hashlib", "hmac")
_MODEL = (
    "sevbuild.measure",
    "sevbuild.launch.batch",
    "sevbuild.launch.page_digest",
    "sevbuild.launch.planner",
    "sevbuild.launch.sev_guest",
    "sevbuild.launch.snp_guest",
)
"""What plans a launch and computes its digest."""


class Room(NamedTuple):
    """What a room may not do, in the words of docs/architecture.md, and what would show it.

    `imports` are modules, with all below them, and `calls` names of functions. `profiles` refuses a
    comparison with the name of a shipped profile. `excepted` has the imports that a module has all the same.
    """

    may_not: str = ""
    imports: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    profiles: bool = False
    excepted: tuple[tuple[str, str], ...] = ()


ROOMS = {
    "cli": Room(
        "compute anything that enters an output",
        imports=(
            *_DIGESTS,
            *_MODEL,
            "struct",
            "sevbuild.image",
            "sevbuild.vcpu.save_area",
            "sevbuild.vcpu.reset",
        ),
        # A delimiter that no text of others can foresee.
        excepted=(("cli/github.py", "hashlib"),),
    ),
    "diagnose": Room(
        "know a terminal; change a plan that was asked for; ask for a profile by its name",
        imports=("typer", "rich", "click", "socket", "subprocess"),
        calls=("print", "input", "isatty"),
        profiles=True,
    ),
    "api": Room("compute anything on its own", imports=(*_DIGESTS, *_MODEL, *_FILES)),
    "appraise": Room(
        "know a terminal; measure on its own",
        imports=(*_MODEL, "typer", "rich", "click"),
        calls=("print", "input", "isatty"),
    ),
    "bundle": Room("measure on its own", imports=_MODEL),
    "reference": Room(
        "read files",
        imports=(*_FILES, *_CLOCKS_AND_PEOPLE),
        calls=_EDGES,
    ),
    "commands": Room("measure on its own", imports=_MODEL),
    "guest": Room(
        "know a terminal",
        imports=("typer", "rich", "click", "time", "socket", "subprocess"),
        calls=("print", "input", "isatty"),
        profiles=True,
    ),
    "manifest": Room(
        "read inputs; ask for a profile by its name",
        imports=(
            "sevbuild.guest.inputs",
            "sevbuild.network",
            *_DIGESTS[1:],
            *_CLOCKS_AND_PEOPLE,
            "sevbuild.output",
        ),
        calls=_EDGES,
        profiles=True,
    ),
    "picture": Room(
        "read files; know manifests; compute a digest",
        imports=(*_FILES, *_CLOCKS_AND_PEOPLE, *_DIGESTS, *_MODEL),
        calls=_EDGES,
    ),
    "attest": Room(
        "know manifests, files, the network",
        imports=(*_FILES, *_CLOCKS_AND_PEOPLE, "sevbuild.network"),
        calls=_EDGES,
    ),
    "identity": Room(
        "know manifests, files",
        imports=(*_FILES, *_CLOCKS_AND_PEOPLE, "secrets", "random"),
        calls=(*_EDGES, "urandom"),
    ),
    "igvm": Room(
        "read files, digest",
        imports=(*_FILES, *_CLOCKS_AND_PEOPLE, *_DIGESTS, *_MODEL),
        calls=_EDGES,
    ),
    "measure": Room(
        "parse files",
        imports=(
            *_FILES,
            *_CLOCKS_AND_PEOPLE,
            "struct",
            "json",
            "tomli",
            "sevbuild.image",
            "sevbuild.documents",
        ),
        calls=_EDGES,
    ),
    "launch": Room(
        "read files, print; ask for a profile by its name",
        imports=(*_FILES, *_CLOCKS_AND_PEOPLE),
        calls=_EDGES,
        profiles=True,
    ),
    "image": Room("read files", imports=(*_FILES, *_CLOCKS_AND_PEOPLE), calls=_EDGES),
    "vcpu": Room("read files", imports=(*_FILES, *_CLOCKS_AND_PEOPLE), calls=_EDGES),
    "network": Room(
        "know a terminal", imports=("typer", "rich", "click"), calls=("print", "input", "isatty")
    ),
    "documents": Room("read files", imports=(*_FILES, *_CLOCKS_AND_PEOPLE), calls=_EDGES),
    "output": Room("know what it writes", imports=("json", "struct", *_DIGESTS[1:])),
}
"""The rooms from the top down: one imports from itself and from those after it."""

FLOOR = ("fs", "kind", "text", "progress", "environment", "errors", "by_identity")
"""The modules below all rooms, from the top down."""

ORDER = (*ROOMS, *FLOOR)


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Yield each module, and each name of a module, that a syntax tree imports anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(path: Path) -> str:
    """Return the room of a module of the package, or its own name on the floor."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def violations(room: str, tree: ast.AST, name: str = "") -> list[str]:
    """Return what a module does that its room may not; `name` is its path in the package."""
    rule = ROOMS.get(room, Room())
    found = [f"imports {module}, which is above it" for module in imports_of(tree) if _is_above(room, module)]
    found += [
        f"imports {module}"
        for module in imports_of(tree)
        for refused in rule.imports
        if f"{module}.".startswith(f"{refused}.") and (name, refused) not in rule.excepted
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in rule.calls:
            found.append(f"calls {_called(node)}")
        elif isinstance(node, ast.Compare) and rule.profiles:
            words = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
            found += [f"asks for profile {word}" for word in PROFILES if word in words]
    return found


def named_profiles(tree: ast.Module) -> list[str]:
    """Return the shipped profiles that a module's code names; a table of data at its top level may."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
        words = {text for text in texts if isinstance(text, str)}
        found += [name for name in PROFILES if name in words or any(f'"{name}"' in text for text in words)]
    return found


def _is_above(room: str, module: str) -> bool:
    parts = [*module.split("."), ""]
    return (
        parts[0] == "sevbuild"
        and {room, parts[1]} <= set(ORDER)
        and ORDER.index(parts[1]) < ORDER.index(room)
    )


def _called(node: ast.Call) -> str:
    """Return the name of what is called; a method `open` is not the function."""
    if isinstance(node.func, ast.Name):
        return node.func.id
    name = getattr(node.func, "attr", "")
    return "" if name == "open" else str(name)
