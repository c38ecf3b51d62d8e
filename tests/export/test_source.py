"""Documents from elsewhere are refused in one line before a format meets them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.manifest.formats import FORMATS
from sevbuild.reference.document import reference_document
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import exporter, render
from sevbuild.reference.read import read_reference_values
from tests.export.support import EXTRA, document, typed


@pytest.mark.parametrize("name", ["hardware", "matrix", "owner"])
def test_documents_of_ours_are_read(name: str) -> None:
    of = document(name)
    assert reference_document(read_reference_values("x", json.dumps(of).encode())) == of


JUNK = st.sampled_from([None, True, 0, -1, "", "x", "0x1", "ab" * 48, "a\nb", [], {}, [1], {"a": 1}])


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Draw a document with one or two values replaced or removed."""
    of = document(draw(st.sampled_from(["hardware", "matrix", "owner"])))
    for _ in range(draw(st.integers(1, 2))):
        spots: list[tuple[Any, Any]] = []

        def walk(node: Any, spots: list[tuple[Any, Any]] = spots) -> None:
            for key, value in node.items() if isinstance(node, dict) else enumerate(node):
                spots.append((node, key))
                if isinstance(value, (dict, list)):
                    walk(value)

        walk(of)
        if spots:
            node, key = draw(st.sampled_from(spots))
            if draw(st.booleans()):
                node[key] = draw(JUNK)
            else:
                del node[key]
    return json.dumps(of)


@given(mutated())
def test_no_document_crashes_a_format(text: str) -> None:
    try:
        of = reference_document(read_reference_values("x", text.encode()))
    except SevbuildError:
        return
    for name in FORMATS:
        options = ExportOptions(EXTRA.get(name, {}))
        try:
            render(name, typed(of), options)
            exporter(name).notes(typed(of), options)
        except SevbuildError:
            pass
