"""Bend JSON and TOML as trees, so that what comes out is a document that still parses.

Bytes that are bent at random hardly ever get past the text's own grammar, and never test what lies behind it.
Here a seed is read, a few of its nodes are changed, and it is written again: what is refused then is refused
by the decoder of that document, and a good part is accepted.
"""

from __future__ import annotations

import json
import random
import re
from typing import Any

import tomli

__all__ = ["bend_json", "bend_toml"]

_NUMBERS = (
    -1,
    0,
    1,
    2,
    3,
    8,
    64,
    255,
    4096,
    4097,
    1 << 20,
    (1 << 31) - 1,
    1 << 32,
    1 << 63,
    (1 << 64) - 1,
    1 << 64,
)
_TEXTS = (
    "",
    " ",
    "0x0",
    "0x30000",
    "0xffffffffffffffff",
    "0x10000000000000000",
    "a" * 300,
    "{vcpus}",
    "{{",
    "{",
    "../../etc/passwd",
    "/dev/zero",
    "~/x",
    "-",
    "snp",
    "sev",
    "sev-es",
    "qemu",
    "EPYC-Milan",
    "caf\u00e9",
    "\u202e",
    "\x1b[31m",
    "a\nb",
    "\x7f",
)
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")
_MOST_LEAVES = 4000

Place = tuple[Any, Any]
"""A container, and the key or index of one of its entries."""


def bend_json(chance: random.Random, seed: bytes) -> bytes:
    """Return a JSON document with a few of its nodes changed."""
    tree = _bent(chance, json.loads(seed))
    return json.dumps(tree, indent=chance.choice((None, 1)), ensure_ascii=chance.random() < 0.5).encode()


def bend_toml(chance: random.Random, seed: bytes) -> bytes:
    """Return a TOML document with a few of its nodes changed, in tables or in one line."""
    tree = _bent(chance, tomli.loads(seed.decode()))
    if not isinstance(tree, dict):
        return seed
    lines = _tables(tree) if chance.random() < 0.7 else [f"{_key(key)} = {_value(tree[key])}" for key in tree]
    return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"


def _places(tree: Any) -> list[Place]:
    found: list[Place] = []
    stack = [tree]
    while stack and len(found) < _MOST_LEAVES:
        node = stack.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], dict | list):
                stack.append(node[key])
    return found


def _bent(chance: random.Random, tree: Any) -> Any:
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        places = _places(tree)
        if not places:
            return tree
        _bend_one(chance, *chance.choice(places), places)
    return tree


def _bend_one(chance: random.Random, node: Any, key: Any, places: list[Place]) -> None:
    kind = chance.randrange(10)
    value = node[key]
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, list):
        node.insert(chance.randrange(len(node) + 1), json.loads(json.dumps(value)))
    elif kind == 1 and isinstance(node, dict):
        # The order of an object's keys means nothing.
        node[key] = node.pop(key)
    elif kind == 2:
        other, at = chance.choice(places)
        node[key] = json.loads(json.dumps(other[at]))
    elif kind == 3:
        node[key] = chance.choice((None, True, False, [], {}, [value], {"x": value}))
    elif kind == 4 and isinstance(node, dict):
        node[chance.choice((*_TEXTS, f"{key}s"))] = value
    elif isinstance(value, dict | list):
        if isinstance(value, list):
            chance.shuffle(value)
        else:
            node[key] = dict(sorted(value.items(), reverse=True))
    else:
        node[key] = _scalar(chance, value)


def _scalar(chance: random.Random, value: Any) -> Any:
    """Return another scalar, most often one of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int) and chance.random() < 0.8:
        return chance.choice((*_NUMBERS, value + 1, value - 1, value * 2))
    if isinstance(value, str) and chance.random() < 0.8:
        digits = [at for at, letter in enumerate(value) if letter in "0123456789abcdef"]
        if digits and chance.random() < 0.7:
            at = chance.choice(digits)
            return value[:at] + chance.choice("0123456789abcdef") + value[at + 1 :]
        return chance.choice((*_TEXTS, value.upper(), value + value, value[:-1], value + "x"))
    return chance.choice((*_NUMBERS, *_TEXTS))


def _tables(tree: dict[str, Any], path: str = "") -> list[str]:
    """Return the lines of a table and of those below it, plain values first as the grammar wants it."""
    below = {key: value for key, value in tree.items() if _is_table(value) or _is_tables(value)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in tree.items() if key not in below]
    for key, value in below.items():
        name = f"{path}.{_key(key)}" if path else _key(key)
        for entry in value if isinstance(value, list) else [value]:
            lines += [f"[[{name}]]" if isinstance(value, list) else f"[{name}]", *_tables(entry, name)]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and bool(value)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_table(entry) for entry in value)


def _key(key: str) -> str:
    return key if _BARE.match(key) else json.dumps(key).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(entry)}" for key, entry in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)
