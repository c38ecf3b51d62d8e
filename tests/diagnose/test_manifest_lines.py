"""The lines of a manifest that a change comes to."""

from __future__ import annotations

from typing import Any

import pytest

from sevbuild.diagnose.answer import Line
from sevbuild.diagnose.change import Change, Edit
from sevbuild.diagnose.manifest_lines import manifest_lines
from sevbuild.documents.document import Document

TEXT = """schema = 1
[launch]
mode = "snp"
profile = ["qemu"]
guest-features = 0x1
[vcpu]
count = [1, "4-8"]
model = ["EPYC-v4", "EPYC-Milan"]
[kernel]
cmdline = "quiet"
[initrd]
path = ["a", "b"]
[[matrix]]
vcpu.count = "1-4"
"""


def change(*edits: Edit, axis: str = "cpu") -> Change:
    return Change(axis, "x", "tail", lambda setup: setup, "", "", 0, edits)


def lines(*edits: tuple[str, str | None], vcpus: int | None = None, **more: Any) -> tuple[Line, ...]:
    document = Document("guest.toml", TEXT, **more)
    return manifest_lines(document, [change(*(Edit(*edit) for edit in edits))], vcpus)


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (("launch.mode", '"sev"'), (3, '"snp"', '"sev"')),
        (("launch.profile", '"ec2"'), (4, '["qemu"]', '["ec2"]')),
        (("launch.guest-features", "0x21"), (5, "0x1", "0x21")),
        (
            ("vcpu.model", '"EPYC-Rome"'),
            (8, '["EPYC-v4", "EPYC-Milan"]', '["EPYC-v4", "EPYC-Milan", "EPYC-Rome"]'),
        ),
        (("vcpu.signature", "0x800f12"), (6, None, "0x800f12")),
        (("initrd.path", '["b", "a"]'), (12, '["a", "b"]', '["b", "a"]')),
        (("kernel.cmdline", None), (10, '"quiet"', None)),
        (("kernel.hashes", "false"), (9, None, "false")),
    ],
)
def test_a_value_and_the_one_instead(edit: tuple[str, str | None], line: tuple[Any, ...]) -> None:
    number, old, new = line
    assert lines(edit) == (Line("guest.toml", number, edit[0], old, new),)


@pytest.mark.parametrize(
    "edit",
    [
        ("vcpu.model", '"EPYC-Milan"'),
        ("launch.mode", '"snp"'),
        ("kernel.cmdline-file", None),
        ("firmware.sha256", '"00"'),
    ],
)
def test_what_changes_nothing_is_no_line(edit: tuple[str, str | None]) -> None:
    assert lines(edit) == ()


def test_counts_are_added_to_what_is_there() -> None:
    assert lines(vcpus=16) == (Line("guest.toml", 7, "vcpu.count", '[1, "4-8"]', '[1, "4-8", 16]'),)
    aliases = {"vcpu.count": "matrix[0].vcpu.count"}
    (line,) = lines(vcpus=16, aliases=aliases)
    assert line == Line("guest.toml", 14, "matrix[0].vcpu.count", '"1-4"', '["1-4", 16]')


def test_a_flag_is_set_otherwise() -> None:
    (line,) = lines(("launch.mode", '"sev"'), aliases={"launch.mode": "--set launch.mode"})
    assert line == Line("--set", None, "launch.mode", None, '"sev"')


def test_lines_are_in_the_order_of_the_text() -> None:
    document = Document("guest.toml", TEXT)
    found = manifest_lines(
        document,
        [
            change(Edit("vcpu.model", '"EPYC"')),
            change(Edit("launch.mode", '"sev"'), axis="mode"),
            change(Edit("vcpu.model", '"EPYC-Rome"'), axis="registers"),
        ],
        3,
    )
    assert [line.line for line in found] == [3, 7, 8]
    # Of two changes of one key the later axis is right.
    assert found[2].new == '["EPYC-v4", "EPYC-Milan", "EPYC-Rome"]'
