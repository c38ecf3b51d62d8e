"""Lines of values in a TOML text."""

from __future__ import annotations

import time
from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.documents.locate import locate, nearest

TEXT = '''# a comment with [brackets] and = signs
schema = 1
"quoted" = 2
'li.teral' = 3
a.b . c = "x = 1 # no comment"

[launch]
mode = [
  "snp",   # first
  "sev",
]
policy = { snp = 0x30000, "sev-es" = { x = 5 } }
text = """
[not.a.table]
key = 1 \\""" still
"""
raw = \'\'\'
[nor.this]
\'\'\'
after = true

[[matrix]]
launch = { profile = "a" }
[matrix.vcpu]
count = 1
[[matrix]]
launch.profile = "b"
nested = [[1, 2], [
  3]]
[ spaced . table ]
date = 2020-01-01T00:00:00Z
'''

LINES = {
    "schema": 2,
    "quoted": 3,
    '"li.teral"': 4,
    "a": 5,
    "a.b": 5,
    "a.b.c": 5,
    "launch": 7,
    "launch.mode": 8,
    "launch.mode[0]": 9,
    "launch.mode[1]": 10,
    "launch.policy": 12,
    "launch.policy.snp": 12,
    "launch.policy.sev-es": 12,
    "launch.policy.sev-es.x": 12,
    "launch.text": 13,
    "launch.raw": 17,
    "launch.after": 20,
    "matrix": 22,
    "matrix[0]": 22,
    "matrix[0].launch": 23,
    "matrix[0].launch.profile": 23,
    "matrix[0].vcpu": 24,
    "matrix[0].vcpu.count": 25,
    "matrix[1]": 26,
    "matrix[1].launch": 27,
    "matrix[1].launch.profile": 27,
    "matrix[1].nested": 28,
    "matrix[1].nested[0]": 28,
    "matrix[1].nested[0][0]": 28,
    "matrix[1].nested[0][1]": 28,
    "matrix[1].nested[1]": 28,
    "matrix[1].nested[1][0]": 29,
    "spaced": 30,
    "spaced.table": 30,
    "spaced.table.date": 31,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_value_has_its_line(newline: str) -> None:
    text = TEXT.replace("\n", newline)
    assert tomli.loads(text)
    assert locate(text) == LINES


def test_the_nearest_known_ancestor() -> None:
    assert nearest(LINES, "launch.mode[1]") == 10
    assert nearest(LINES, "launch.mode[7]") == 8
    assert nearest(LINES, "launch.absent.key") == 7
    assert nearest(LINES, "absent") is None
    assert nearest(LINES, "") is None
    assert nearest({}, "[0]") is None


keys = st.sampled_from(["a", "b-c", "D_1", "9"])
scalars = st.one_of(
    st.integers(-5, 5).map(str),
    st.booleans().map(lambda value: str(value).lower()),
    st.sampled_from(
        [
            '"plain"',
            '"# [x] = \\" \\\\"',
            "'lit]eral'",
            '"""a\n\\"b"""',
            "'''x\ny = 1\n'''",
            '""',
            '""""quoted" """',
            "1979-05-27",
        ]
    ),
)


@st.composite
def documents(  # noqa: C901 - one emitter, told in one go
    draw: st.DrawFn,
) -> tuple[str, dict[str, int]]:
    """Draw a TOML text with the line of each of its leaves."""
    lines: dict[str, int] = {}
    text = ""

    def here() -> int:
        return text.count("\n") + 1

    def blank() -> str:
        return draw(st.sampled_from(["", "\n", "  # note = [1]\n", "\t\n"]))

    def value(path: str, depth: int) -> None:
        nonlocal text
        lines[path] = here()
        kind = draw(st.integers(0, 5)) if depth < 3 else 0
        if kind == 4:
            text += "["
            for index in range(draw(st.integers(0, 3))):
                text += blank()
                value(f"{path}[{index}]", depth + 1)
                text += blank() + ","
            text += blank() + "]"
        elif kind == 5:
            text += "{"
            for index, key in enumerate(draw(st.lists(keys, max_size=2, unique=True))):
                text += ", " if index else " "
                spot = here()
                text += f"{key} = "
                value(f"{path}.{key}", depth + 2)
                lines[f"{path}.{key}"] = spot
            text += " }"
        else:
            text += draw(scalars)

    def body(prefix: str) -> None:
        nonlocal text
        for key in draw(st.lists(keys, max_size=3, unique=True)):
            text += blank()
            path = f"{prefix}.{key}" if prefix else key
            spot = here()
            text += f"{key} = "
            value(path, 0)
            lines[path] = spot
            text += "\n"

    body("")
    for name in draw(st.lists(st.sampled_from(["t1", "t2", "t3.sub"]), max_size=3, unique=True)):
        text += f"[{name}]\n"
        body(name)
    for index in range(draw(st.integers(0, 2))):
        text += "[[array]]\n"
        body(f"array[{index}]")
    return text, lines


@settings(max_examples=200, deadline=None)
@given(documents())
def test_every_place_of_a_generated_document_is_found(document: tuple[str, dict[str, int]]) -> None:
    text, lines = document
    found = locate(text)
    assert {path: found.get(path) for path in lines} == lines
    assert set(_leaves(tomli.loads(text))) <= set(found)


def _leaves(value: Any, path: str = "") -> list[str]:
    if isinstance(value, dict):
        return [
            leaf for key, entry in value.items() for leaf in _leaves(entry, f"{path}.{key}" if path else key)
        ]
    if isinstance(value, list):
        return [leaf for index, entry in enumerate(value) for leaf in _leaves(entry, f"{path}[{index}]")]
    return [path]


@settings(max_examples=300, deadline=None)
@given(st.text("ab=.[]{}\"'#,\n\\ 1\r\t", max_size=60) | st.text(max_size=40))
def test_text_that_is_not_toml_gives_what_was_found(text: str) -> None:
    assert isinstance(locate(text), dict)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "a = " + "[" * 100_000,
        'a = "' + "\\" * 100_000,
        "a = {" * 50_000,
        "a." * 50_000,
        "#" * 200_000,
    ],
)
def test_hostile_text_takes_no_time(text: str) -> None:
    start = time.process_time()
    locate(text)
    assert time.process_time() - start < 1
