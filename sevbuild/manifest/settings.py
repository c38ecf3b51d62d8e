"""`--set PATH=VALUE`: what a path names in a manifest, and what a value on a command line stands for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sevbuild.documents.document import parse_toml
from sevbuild.errors import Fault, FaultsError, SevbuildError

__all__ = ["Step", "decoded_path", "overridden", "path_steps", "setting_value"]

Step = str | int
"""A key of a table, or the index of an entry of a list."""

_STEP = re.compile(r'(?:"([^"]*)"|([^.\[\]"=]+))((?:\[[0-9]{1,6}\])*)')


def path_steps(path: str) -> tuple[Step, ...]:
    """Return the steps of a path such as `vcpu.count`, `matrix[1].vcpu.count` or `kernel.cmdlines."a.b"`."""
    steps: list[Step] = []
    for part in _parts(path):
        quoted, bare, indexes = part.groups()
        steps.append(bare.strip() if quoted is None else quoted)
        steps += [int(index) for index in re.findall("[0-9]+", indexes)]
    return tuple(steps)


def _parts(path: str) -> Iterator[re.Match[str]]:
    at = 0
    while True:
        match = _STEP.match(path, at)
        if match is None or (match[1] is None and not match[2].strip()):
            break
        yield match
        at = match.end()
        if at == len(path):
            return
        if path[at] != ".":
            break
        at += 1
    hint = "such as vcpu.count, or matrix[1].vcpu.count for one entry"
    raise SevbuildError(f"--set {path}: not the path of a key", hint=hint)


def decoded_path(steps: Sequence[Step]) -> str:
    """Return the path of a key as decoding names it."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def overridden(tables: Any, steps: Sequence[Step], value: Any, path: str, done: str = "") -> Any:
    """Return tables in which the key at `steps` has this value; the tables given stay as they are.

    `path` is what the user wrote. A table that is missing on the way is made. Raises FaultsError where there
    is something else, or no such entry of a list.
    """
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        if not isinstance(tables, Mapping | None):
            hint = (
                "matrix[N] is one entry; without an index, a key is set in all of them"
                if done == "matrix"
                else None
            )
            raise FaultsError([Fault("--set", None, path, f"{done} is not a table in the manifest", hint)])
        below = {} if tables is None else tables
        at = decoded_path((done, step)) if done else step
        return {**below, step: overridden(below.get(step), rest, value, path, at)}
    if not isinstance(tables, list) or step >= len(tables):
        count = len(tables) if isinstance(tables, list) else 0
        have = (
            f"has no entry {step}: the entries are 0 to {count - 1}"
            if count
            else "is not a list in the manifest"
        )
        raise FaultsError([Fault("--set", None, path, f"{done} {have}")])
    entry = overridden(tables[step], rest, value, path, f"{done}[{step}]")
    return [*tables[:step], entry, *tables[step + 1 :]]


def setting_value(steps: Sequence[Step], text: str, *, literal: bool = False) -> Any:
    """Return what VALUE stands for at a path.

    Where the JSON Schema wants a string that is the text as it was typed; quotes of a TOML string are taken
    off, unless it is `literal`. Elsewhere it is TOML (`8`, `[1, 2]`, `true`), or the text if it is none.
    """
    from sevbuild.manifest.schema import manifest_schema

    found = _toml_value(text)
    if isinstance(found, str) and not literal:
        return found
    wanted = _schemas([manifest_schema()], steps)
    kinds = {kind for schema in wanted for kind in _kinds(schema)}
    if (isinstance(found, list) and "array" in kinds) or (isinstance(found, dict) and "object" in kinds):
        return found
    if "string" in kinds and (
        not kinds & {"integer", "boolean"} or any(_takes_text(schema, text) for schema in wanted)
    ):
        return text
    return text if found is None else found


def _toml_value(text: str) -> Any:
    """Return the one TOML value that a text is, None where it is none; a comment is no part of a value."""
    try:
        found = parse_toml(f"value = {text}", "--set")
        return (
            found["value"]
            if parse_toml(f"value = [{text}]", "--set") == {"value": [found["value"]]}
            else None
        )
    except (FaultsError, KeyError):
        return None


def _schemas(schemas: Sequence[Mapping[str, Any]], steps: Sequence[Step]) -> list[Mapping[str, Any]]:
    """Return every schema that a value at `steps` below these may follow."""
    found = [alternative for schema in schemas for alternative in _alternatives(schema)]
    if not steps:
        return found
    below = []
    for schema in found:
        if isinstance(steps[0], int):
            below.append(schema.get("items"))
        else:
            below.append(schema.get("properties", {}).get(steps[0], schema.get("additionalProperties")))
    return _schemas([schema for schema in below if isinstance(schema, Mapping)], steps[1:])


def _alternatives(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for entry in schema.get("anyOf", ()):
        yield from _alternatives(entry)


def _kinds(schema: Mapping[str, Any]) -> Sequence[str]:
    kind = schema.get("type", ())
    return (kind,) if isinstance(kind, str) else tuple(kind)


def _takes_text(schema: Mapping[str, Any], text: str) -> bool:
    """Tell whether a schema takes a text as a string."""
    if "string" not in _kinds(schema):
        return False
    if "enum" in schema:
        return text in schema["enum"]
    return re.search(schema.get("pattern", ""), text) is not None
