"""What differs between two documents, and whether it is launched differently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.cli.comparison import comparison_lines
from sevbuild.cli.expectation import WORDS
from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import load_guest
from sevbuild.manifest.selection import patterns_for, select_labels
from sevbuild.reference.changes import DIFFERENCE, NOTE, Change, said
from sevbuild.reference.collect import collect_values
from sevbuild.reference.compare import compare_values
from sevbuild.reference.document import document_text
from sevbuild.reference.expected import Expected, Run, compare_expected, parse_expected
from sevbuild.reference.input_changes import input_changes
from sevbuild.reference.model import Input, ReferenceValues
from sevbuild.reference.narrow import Selection, narrow_labels, narrow_values
from sevbuild.reference.read import read_reference_values
from tests.bundle.support import make_inputs
from tests.export.support import document
from tests.support.firmware import SECTIONS, standard_firmware
from tests.support.guests import write_manifest


def _input(role: str, name: str, digest: int, size: int | None = 1) -> Input:
    return Input(role, name, size, "sha256", bytes([digest]) * 32)


def _changes(old: list[Input], new: list[Input], *, partial: bool = False) -> list[tuple[str, str]]:
    documents = [ReferenceValues("x", "1", tuple(inputs), ()) for inputs in (old, new)]
    found = input_changes(*documents, partial=partial)
    return [
        (f"{change.what}: {_short(change.old)} -> {_short(change.new)}", change.level) for change in found
    ]


def _short(text: str | None) -> str:
    return " ".join(word[:2] if len(word) == 64 else word for word in (text or "none").split())


A, B, C = _input("kernel", "a", 0xAA), _input("kernel", "b", 0xBB), _input("kernel", "c", 0xCC)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ([A, B], [B, A], []),
        ([A], [A._replace(name="z")], [("input kernel name: a -> z", NOTE)]),
        ([A], [A._replace(digest=B.digest)], [("input kernel a: aa -> bb", DIFFERENCE)]),
        ([A], [B], [("input kernel: a aa -> b bb", DIFFERENCE)]),
        ([A], [A._replace(size=2)], [("input kernel a size: 1 -> 2", DIFFERENCE)]),
        # What is known by its digest alone has no size that could be another.
        ([A], [A._replace(size=None)], [("input kernel a size: 1 -> none", NOTE)]),
        ([A], [], [("input kernel a: aa -> none", DIFFERENCE)]),
        ([], [A], [("input kernel a: none -> aa", DIFFERENCE)]),
        ([A, B], [A, C], [("input kernel b: bb -> none", DIFFERENCE), ("input kernel c: none -> cc", DIFFERENCE)]),
        # Two names for one content, and one of them: nothing else is launched.
        ([A, A._replace(name="z")], [A], [("input kernel name: z -> none", NOTE)]),
        ([A], [A, A._replace(name="z")], [("input kernel name: none -> z", NOTE)]),
        # Which target takes which of two is for its ingredients to say.
        (
            [A, B],
            [A._replace(digest=B.digest), B._replace(digest=A.digest)],
            [("input kernel name: a -> b", NOTE), ("input kernel name: b -> a", NOTE)],
        ),
        ([A], [A._replace(role="initrd")], [("input kernel a: aa -> none", DIFFERENCE), ("input initrd a: none -> aa", DIFFERENCE)]),
    ],
)  # fmt: skip
def test_each_change_of_an_input_is_told(
    old: list[Input], new: list[Input], changes: list[tuple[str, str]]
) -> None:
    assert _changes(old, new) == changes


def test_of_part_of_the_targets_no_input_is_missed_that_nobody_names() -> None:
    assert _changes([A, B], [A], partial=True) == []
    assert _changes([A, B], [A, B._replace(digest=C.digest)], partial=True) == [
        ("input kernel b: bb -> cc", DIFFERENCE)
    ]
    assert _changes([A], [B], partial=True) == [("input kernel: a aa -> b bb", DIFFERENCE)]


def test_many_inputs_are_compared_in_no_time() -> None:
    inputs = [_input("kernel", f"{number}", 0) for number in range(20_000)]
    others = [entry._replace(name=f"{entry.name}x") for entry in inputs]
    assert len(_changes(inputs, others)) == 20_000


def _guest(folder: Path, **tables: Any) -> ReferenceValues:
    make_inputs(folder)
    base: dict[str, Any] = {
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdline": "quiet"},
        "initrd": {"path": "initrd"},
        "vcpu": {"count": [1, 2]},
    }
    merged = {name: table for name, table in {**base, **tables}.items() if table is not None}
    guest = load_guest(str(write_manifest(folder, **merged)))
    return collect_values(guest, guest.measure())


def test_a_firmware_known_by_its_seed_is_the_firmware(tmp_path: Path) -> None:
    whole = _guest(tmp_path)
    (entry,) = whole.ingredients
    metadata = {
        "reset": entry.metadata.reset,
        "hash-table": 0x810C00,
        "sections": [
            {"gpa": section.gpa, "size": section.size, "kind": section.kind}
            for section in entry.metadata.sections or ()
        ],
    }
    assert entry.seed is not None
    seeded = _guest(tmp_path, firmware={"seed": entry.seed.hex(), "metadata": metadata})
    found = compare_values(whole, seeded)
    assert found.same_launch, comparison_lines(found, WORDS, notes=True)
    assert [change.what for change in found.guest] == ["input firmware"]
    assert {change.what for target in found.targets for change in target.changes} == {"inputs.firmware"}
    # It is the pages that count, not that one of the two is a seed.
    other = standard_firmware(sections=SECTIONS[1:], fill=b"\0")
    (tmp_path / "other.fd").write_bytes(other)
    changed = _guest(tmp_path, firmware={"path": "other.fd"})
    assert not compare_values(changed, seeded).same_launch
    # Two files that claim one seed are two files.
    lying = whole._replace(inputs=tuple(
        record._replace(digest=b"\1" * 32) if record.role == "firmware" else record for record in whole.inputs
    ), ingredients=(entry._replace(inputs={**entry.inputs, "firmware": b"\1" * 32}),))  # fmt: skip
    assert not compare_values(whole, lying).same_launch


def test_an_input_that_ingredients_do_not_name_is_a_difference(tmp_path: Path) -> None:
    for mode in ("sev", "snp"):
        values = _guest(tmp_path, launch={"mode": mode})
        (entry,) = values.ingredients
        others = {role: digest for role, digest in entry.inputs.items() if role != "firmware"}
        nameless = values._replace(ingredients=(entry._replace(inputs=others),))
        assert not compare_values(nameless, values).same_launch
        assert not compare_values(values, nameless).same_launch


def test_a_template_that_is_not_that_of_the_line_is_a_difference(tmp_path: Path) -> None:
    plain = _guest(tmp_path, kernel={"path": "kernel", "cmdline": "n=2"}, vcpu={"count": 2})
    written = _guest(tmp_path, kernel={"path": "kernel", "cmdline": "n={vcpus}"}, vcpu={"count": 2})
    assert compare_values(plain, written).same_launch
    assert not compare_values(plain, written).equal
    (entry,) = written.ingredients
    assert entry.kernel is not None
    for template in ("n={cpu}", "n={vcpus}!"):
        lying = written._replace(
            ingredients=(entry._replace(kernel=entry.kernel._replace(cmdline=template)),)
        )
        assert not compare_values(lying, plain).same_launch
        assert not compare_values(plain, lying).same_launch
    (entry,) = plain.ingredients
    assert entry.kernel is not None
    lying = plain._replace(
        ingredients=(entry._replace(kernel=entry.kernel._replace(cmdline_sha256=b"\1" * 32)),)
    )
    assert not compare_values(lying, written).same_launch


def test_a_cause_is_said_once_and_explains_what_follows_from_it(tmp_path: Path) -> None:
    old = _guest(tmp_path)
    (tmp_path / "kernel").write_bytes(b"another")
    make = {"kernel": {"path": "kernel2", "cmdline": "quiet"}}
    (tmp_path / "kernel2").write_bytes(b"another")
    found = compare_values(old, _guest(tmp_path, **make))
    assert [change.what for change in found.targets[0].changes] == ["inputs.kernel"]
    # What is called otherwise explains nothing.
    lying = old._replace(values=tuple(value._replace(digest=b"\0" * 48) for value in old.values))
    noted = lying._replace(values=tuple(value._replace(policy_origin="x") for value in lying.values))
    found = compare_values(old, noted)
    assert [change.what for change in found.targets[0].changes] == [
        "origins.policy",
        "nothing but the digest",
    ]
    assert not found.same_launch


def test_what_a_side_says_nothing_of_is_not_compared(tmp_path: Path) -> None:
    values = _guest(tmp_path)
    other = values._replace(
        name="y",
        inputs=(),
        values=tuple(value._replace(policy=0, policy_origin="x") for value in values.values),
    )
    assert not compare_values(values, other).same_launch
    assert compare_values(values, other, silent=("guest", "input", "policy", "origins")).equal
    assert not compare_values(values, other, silent=("guest", "input", "origins")).same_launch


def test_lines_are_no_more_than_asked_for() -> None:
    run = Run(
        [(f"snp/{number}", number.to_bytes(48, "big")) for number in range(40)],
        lambda: ReferenceValues("", "", (), ()),
        Selection(),
    )
    expected = Expected("x", digests={f"snp/{number}": bytes(48) for number in range(60)})
    comparison = compare_expected(expected, run)
    lines = comparison_lines(comparison, WORDS, notes=False, most=5)
    assert lines[-2:] == ["and 54 more targets", "60 targets: 39 different, 1 equal, 20 not measured"]
    assert len(lines) == 12
    assert len(comparison_lines(comparison, WORDS, notes=False)) == 39 * 2 + 20 + 1
    guest = comparison._replace(guest=tuple(Change(f"input {number}", "a", "b") for number in range(9)))
    assert "and 4 more differences in guest and inputs" in comparison_lines(guest, WORDS, notes=False, most=5)


def test_a_run_whose_labels_do_not_tell_its_digests_is_compared_with_nothing(tmp_path: Path) -> None:
    values = _guest(tmp_path)
    label, digest = values.values[0].label, values.values[0].digest
    twice = Run([(label, digest), (label, bytes(48))], lambda: values, Selection())
    for expected in (
        Expected("x", digests={label: digest}),
        Expected("x", values=values),
        Expected("x", digest=digest),
    ):
        with pytest.raises(SevbuildError, match="2 digests have this label"):
            compare_expected(expected, twice)
        with pytest.raises(SevbuildError, match=r"nothing was measured|one expected digest for 0"):
            compare_expected(expected, Run([], lambda: values._replace(values=()), Selection()))


def test_a_list_tells_what_its_labels_tell() -> None:
    labels = [
        "snp/qemu/EPYC/vcpus1",
        "snp/qemu/EPYC/vcpus1/debug",
        "sev/qemu/EPYC/vcpus12",
        "snp/ec2/EPYC/vcpus2  (1.0)",
    ]
    wanted: list[tuple[dict[str, list[str]], list[int]]] = [
        ({"vcpus": ["1"]}, [0, 1]),
        ({"vcpus": ["1", "2"]}, [0, 1, 3]),
        ({"mode": ["sev"]}, [2]),
        ({"profile": ["ec2"], "cpu": ["EPYC"]}, [3]),
        ({"label": [labels[1]]}, [1]),
        ({"cpu": ["none"]}, []),
    ]
    for texts, picked in wanted:
        assert narrow_labels(labels, Selection((), texts), source="x") == [labels[index] for index in picked]
    with pytest.raises(SevbuildError, match="a list of labels does not say policy"):
        narrow_labels(labels, Selection((), {"policy": ["0x1"]}), source="x")


LABELS = st.lists(
    st.builds("/".join, st.lists(st.sampled_from(["a", "b", "vcpus1", "vcpus12"]), min_size=1, max_size=4)),
    min_size=1,
    max_size=8,
    unique=True,
)


@given(LABELS, st.data())
def test_the_patterns_of_the_hint_pick_what_they_are_for(labels: list[str], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(labels), min_size=1, unique=True))
    assert sorted(select_labels(patterns_for(chosen, labels), labels)) == sorted(chosen)


JUNK = st.sampled_from(
    [None, True, 0, -1, "", "x", "0x1", "ab" * 48, "ab" * 32, "{vcpus}", [], {}, [1], {"a": 1}]
)
NAMES = ("hardware", "matrix", "owner")


@st.composite
def bent(draw: st.DrawFn) -> tuple[ReferenceValues, ReferenceValues]:
    """Draw a document, and what the reader makes of it with values replaced or taken away."""
    name = draw(st.sampled_from(NAMES))
    tree = document(name)
    for _ in range(draw(st.integers(0, 3))):
        spots: list[tuple[Any, Any]] = []
        pending: list[Any] = [tree]
        while pending:
            node = pending.pop()
            for key, value in node.items() if isinstance(node, dict) else enumerate(node):
                spots.append((node, key))
                if isinstance(value, dict | list):
                    pending.append(value)
        node, key = draw(st.sampled_from(spots))
        if draw(st.booleans()):
            other, theirs = draw(st.sampled_from(spots))
            node[key] = json.loads(json.dumps(other[theirs]))
        elif draw(st.booleans()):
            node[key] = draw(JUNK)
        else:
            del node[key]
    whole = read_reference_values("x", json.dumps(document(name)).encode())
    try:
        return whole, read_reference_values("x", json.dumps(tree).encode())
    except SevbuildError:
        return whole, whole


@pytest.mark.slow
@given(bent(), st.lists(st.sampled_from(["snp/*", "sev", "vcpus1", "EPYC*", "plain"]), max_size=2))
def test_any_document_that_is_read_is_compared(
    pair: tuple[ReferenceValues, ReferenceValues], patterns: list[str]
) -> None:
    whole, other = pair
    there, back = compare_values(whole, other), compare_values(other, whole)
    assert (there.equal, there.same_launch) == (back.equal, back.same_launch)
    same = (whole.name, whole.version, set(whole.inputs)) == (other.name, other.version, set(other.inputs))
    same &= {value._replace(ingredients=None) for value in whole.values} == {
        value._replace(ingredients=None) for value in other.values
    }
    # Whatever differs is told.
    assert same or not there.equal
    assert document_text(whole) != document_text(other) or there.equal
    fixed = (
        "mode",
        "profile",
        "signature",
        "vcpus",
        "policy",
        "guest_features",
        "digest",
        "vmsa_gpa",
        "order",
    )
    launches = [
        {(value.label, *(getattr(value, key) for key in fixed)) for value in side.values} for side in pair
    ]
    assert launches[0] == launches[1] or not there.same_launch
    json.dumps(there.document())
    selection = Selection(tuple(patterns))
    narrowed = [narrow_values(side, selection) for side in pair]
    assert narrowed[1].values == tuple(
        value for value in other.values if value.label in select_labels_or_none(patterns, other)
    )
    partial = compare_values(narrowed[0], narrowed[1], partial=True)
    # Less is compared of less, and nothing is invented.
    assert partial.same_launch or not there.same_launch


def select_labels_or_none(patterns: list[str], values: ReferenceValues) -> set[str]:
    """Return the labels that any of the patterns picks."""
    labels = [value.label for value in values.values]
    found: set[str] = set() if patterns else set(labels)
    for pattern in patterns:
        try:
            found |= set(select_labels([pattern], labels))
        except SevbuildError:
            continue
    return found


@pytest.mark.slow
@given(st.binary(max_size=300) | st.from_regex(rb"([0-9a-f]{96}  [a-z/]{1,9}\n){0,3}", fullmatch=True))
def test_no_file_of_digests_crashes(data: bytes) -> None:
    try:
        found = parse_expected("x", data)
    except SevbuildError:
        return
    assert found.digest is not None or found.digests or found.values is not None


def test_an_empty_command_line_is_said_to_be_one() -> None:
    assert [said(text) for text in (None, "", "quiet")] == ["none", "empty", "quiet"]
