"""Overrides of manifest keys: what a path names, and what a typed value stands for."""

from __future__ import annotations

from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import FaultsError, SevbuildError
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.settings import decoded_path, overridden, path_steps, setting_value

TEXT = """schema = 1
guest = { name = "hello", version = "1" }
launch = { mode = "snp", profile = "qemu" }
firmware = { path = "OVMF.fd" }
vcpu = { count = 1, model = "EPYC-v4" }
"""
MATRIX = """
[[matrix]]
launch = { profile = "ec2" }
vcpu = { count = 2 }
[[matrix]]
firmware = { path = "other.fd" }
vcpu = { count = 3 }
"""


def _value(path: str, text: str, *, literal: bool = False) -> Any:
    return setting_value(path_steps(path), text, literal=literal)


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("vcpu", ("vcpu",)),
        ("vcpu.count", ("vcpu", "count")),
        ("matrix[12].vcpu.count", ("matrix", 12, "vcpu", "count")),
        ("a[0][1]", ("a", 0, 1)),
        ('kernel.cmdlines."a.b"', ("kernel", "cmdlines", "a.b")),
        ("vcpu . count", ("vcpu", "count")),
    ],
)
def test_a_path_has_keys_and_indices(path: str, steps: tuple[str | int, ...]) -> None:
    assert path_steps(path) == steps
    assert path_steps(decoded_path(steps)) == steps or '"' in path


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[-1]", "a]b", "[0]", 'a"b', "a[0]b", " . "]
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(SevbuildError, match="not the path of a key"):
        path_steps(path)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("vcpu.count", "8", 8),
        ("vcpu.count", "0x10", 16),
        ("vcpu.count", "1-64", "1-64"),
        ("vcpu.count", "[1, 2]", [1, 2]),
        ("vcpu.count", "lots", "lots"),
        ("vcpu.count", "8,", "8,"),
        ("vcpu.count", "8 # of them", "8 # of them"),
        ("matrix[3].vcpu.count", "8", 8),
        ("launch.mode", "snp", "snp"),
        ("launch.mode", '["snp", "sev"]', ["snp", "sev"]),
        ("launch.policy", "0x30000", 0x30000),
        ("launch.policy", "{ debug = true }", {"debug": True}),
        ("launch.policy.abi", "1.55", "1.55"),
        ("launch.policy.snp.abi", "1.55", "1.55"),
        ("launch.policy.snp", "0x30000", 0x30000),
        ("launch.policy.debug", "true", True),
        ("launch.guest-features", '["snp-active"]', ["snp-active"]),
        ("firmware.sha256", "1" * 64, "1" * 64),
        ("firmware.sha256", "12", "12"),
        ("firmware.path", "12", "12"),
        ("initrd.path", "12", "12"),
        ("initrd.path", '["a", "b"]', ["a", "b"]),
        ("initrd.path[0]", "12", "12"),
        ("firmware.metadata.sections[0].kind", "svsm-caa", "svsm-caa"),
        ("firmware.metadata.sections[0].kind", "4", 4),
        ("kernel.hashes", "false", False),
        ("kernel.cmdlines.debug", "1", "1"),
        ("variables.x", "0x10", "0x10"),
        ("publish.rvps.name", "1", "1"),
        ("publish.tinfoil.gpus", "1", 1),
        ("publish.formats", "hex", "hex"),
        ("schema", "1", 1),
        ("no.such.key", "1", 1),
        ("no.such.key", "one", "one"),
        ("no[3]", "1", 1),
    ],
)
def test_a_value_has_the_type_that_its_key_wants(path: str, text: str, value: Any) -> None:
    found = _value(path, text)
    assert (found, type(found)) == (value, type(value))


def test_a_file_stands_for_its_text_where_a_string_is_wanted() -> None:
    assert _value("kernel.cmdline", '"quoted"', literal=True) == '"quoted"'
    assert _value("vcpu.count", "[\n  1,\n  2,\n]", literal=True) == [1, 2]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_command_line_is_the_text_unless_it_is_one_string_of_toml(text: str) -> None:
    found = _value("kernel.cmdline", text)
    if found != text:
        assert tomli.loads(f"value = {text}") == {"value": found}
        assert text.strip()[0] in "\"'"
        assert text.strip()[-1] == text.strip()[0]


def test_tables_given_stay_as_they_are() -> None:
    tables = {"a": {"b": [{"c": 1}]}}
    assert overridden(tables, path_steps("a.b[0].c"), 2, "") == {"a": {"b": [{"c": 2}]}}
    assert overridden(tables, path_steps("x.y"), 2, "")["x"] == {"y": 2}
    assert tables == {"a": {"b": [{"c": 1}]}}


@pytest.mark.parametrize(
    ("path", "message", "hint"),
    [
        ("guest.name.x", "guest.name is not a table in the manifest", None),
        ("matrix.vcpu.count", "matrix is not a table in the manifest", "matrix[N] is one entry"),
        ("matrix[2].vcpu.count", "matrix has no entry 2: the entries are 0 to 1", None),
        ("vcpu.count[0]", "vcpu.count is not a list in the manifest", None),
        ("matrix[0].vcpu.count.x", "matrix[0].vcpu.count is not a table", None),
    ],
)
def test_a_fault_in_a_setting_is_told(path: str, message: str, hint: str | None) -> None:
    with pytest.raises(FaultsError) as caught:
        decode_manifest(TEXT + MATRIX, "guest.toml", settings={path: 1})
    (fault,) = caught.value.faults
    assert (fault.source, fault.path) == ("--set", path)
    assert message in fault.message
    assert (hint or "") in (fault.hint or "")


def test_one_entry_is_set_over_all_whatever_the_order() -> None:
    settings = {"matrix[1].vcpu.count": 7, "vcpu": {"count": 5, "model": "EPYC"}}
    for given_ in (settings, dict(reversed(settings.items()))):
        manifest = decode_manifest(TEXT + MATRIX, "guest.toml", settings=given_)
        assert [variant.counts for variant in manifest.variants] == [(5,), (7,)]
        assert {variant.cpus[0].label for variant in manifest.variants} == {"EPYC"}


def test_faults_say_which_setting_is_at_fault() -> None:
    with pytest.raises(FaultsError) as caught:
        decode_manifest(
            TEXT + MATRIX, "guest.toml", settings={"vcpu": {"count": 0}, "matrix[1].firmware.path": ""}
        )
    found = [str(fault) for fault in caught.value.faults]
    assert "--set: vcpu.count: must be 1..4096, got 0" in found
    assert "--set: matrix[1].firmware.path: must be the path of a file" in found
    assert all(text.startswith("--set: ") for text in found)
