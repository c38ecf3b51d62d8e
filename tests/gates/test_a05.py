"""`--set` reaches the key it names, in every entry of a matrix, with the value that was typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Result, run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest

MATRIX = [
    {"launch": {"profile": "qemu"}, "vcpu": {"count": 1}},
    {"launch": {"profile": "qemu-snp-debugswap"}, "vcpu": {"count": 2}},
    {"launch": {"profile": "qemu-snp-legacy-fpu"}},
]


def _manifest(folder: Path, **tables: Any) -> Path:
    (folder / "OVMF.fd").write_bytes(standard_firmware())
    (folder / "kernel").write_bytes(b"kernel")
    return write_manifest(folder, **{"firmware": {"path": "OVMF.fd"}, **tables})


def _labels(result: Result) -> list[str]:
    assert result.status == 0, result.err
    return [line.partition("  ")[2] for line in result.out.splitlines()]


def _values(result: Result) -> list[dict[str, Any]]:
    assert result.status == 0, result.err
    values: list[dict[str, Any]] = json.loads(result.out)["values"]
    return values


def test_a_key_is_set_in_every_entry_of_a_matrix(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, launch={"profile": None}, matrix=MATRIX)
    assert _labels(run("measure", "-q", manifest, "--set", "vcpu.count=4")) == [
        "snp/qemu/EPYC-v4/vcpus4",
        "snp/qemu-snp-debugswap/EPYC-v4/vcpus4",
        "snp/qemu-snp-legacy-fpu/EPYC-v4/vcpus4",
    ]


def test_a_key_is_set_in_one_entry_of_a_matrix(tmp_path: Path) -> None:
    manifest = _manifest(tmp_path, launch={"profile": None}, matrix=MATRIX)
    both = ["--set", "matrix[1].vcpu.count=4", "--set", "vcpu.count=8"]
    assert _labels(run("measure", "-q", manifest, *both)) == [
        "snp/qemu/EPYC-v4/vcpus8",
        "snp/qemu-snp-debugswap/EPYC-v4/vcpus4",
        "snp/qemu-snp-legacy-fpu/EPYC-v4/vcpus8",
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("matrix[3].vcpu.count", "matrix has no entry 3: the entries are 0 to 2"),
        ("vcpu.count[0]", "vcpu.count is not a list"),
    ],
)
def test_a_key_of_no_entry_is_a_fault(tmp_path: Path, path: str, message: str) -> None:
    manifest = _manifest(tmp_path, launch={"profile": None}, matrix=MATRIX)
    result = run("measure", "-q", manifest, "--set", f"{path}=4")
    assert (result.status, result.out) == (2, "")
    assert f"--set: {path}: {message}" in result.err


TYPED = {
    "0x10": "0x10",
    "1_0": "1_0",
    "010": "010",
    "1.50": "1.50",
    "true": "true",
    "2026-01-01": "2026-01-01",
    "[1, 2]": "[1, 2]",
    '"0x10"': "0x10",
    "'a b'": "a b",
    '"a" # b': '"a" # b',
    '"a" "b"': '"a" "b"',
    "": "",
}
"""What stands on the command line, and what is measured where a string is wanted."""


@pytest.mark.parametrize("path", ["variables.x", "kernel.cmdline"])
def test_where_a_string_is_wanted_the_value_is_the_text_as_typed(tmp_path: Path, path: str) -> None:
    tables: dict[str, Any] = {"kernel": {"path": "kernel"}}
    if path == "variables.x":
        tables = {"kernel": {"path": "kernel", "cmdline": "{x}"}, "variables": {"x": "y"}}
    manifest = _manifest(tmp_path, **tables)
    measured = {}
    for typed in TYPED:
        (value,) = _values(run("measure", "-q", "-f", "json", manifest, "--set", f"{path}={typed}"))
        measured[typed] = value["cmdline"]
    assert measured == TYPED


def test_a_version_is_a_string_and_a_count_a_number(tmp_path: Path) -> None:
    settings = ["--set", "guest.version=1.10", "--set", "vcpu.count=2"]
    result = run("measure", "-q", "-f", "json", _manifest(tmp_path), *settings)
    assert result.status == 0, result.err
    document = json.loads(result.out)
    assert document["guest"]["version"] == "1.10"
    assert document["values"][0]["vcpus"] == 2
