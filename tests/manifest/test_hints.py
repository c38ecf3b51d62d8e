"""Hints that lead to what was meant: each mistake that is made, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sevbuild.documents.hints import type_hint
from sevbuild.errors import FaultsError
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.hints import mode_hint
from sevbuild.manifest.lock import decode_lock
from tests.support.cli import run
from tests.support.guests import toml_value

GOOD: dict[str, Any] = {
    "schema": 1,
    "guest": {"name": "hello", "version": "1"},
    "launch": {"mode": "snp", "profile": "qemu"},
    "firmware": {"path": "OVMF.fd"},
    "vcpu": {"count": 1, "model": "EPYC-Milan"},
}
SHA = "ab" * 32

TABLE: list[tuple[dict[str, Any], str, str]] = [
    ({"launch": {"mode": "sev-snp"}}, "launch.mode: unknown value 'sev-snp'", "did you mean snp?"),
    ({"launch": {"mode": "sev-spn"}}, "launch.mode", "did you mean snp?"),
    ({"launch": {"mode": ["SNP", "SEV-ES"]}}, "launch.mode[0]", "did you mean snp?"),
    ({"launch": {"mode": "SEV_ES"}}, "launch.mode", "did you mean sev-es?"),
    ({"launch": {"mode": "seves"}}, "launch.mode", "did you mean sev-es?"),
    ({"launch": {"mode": "SEV"}}, "launch.mode", "did you mean sev?"),
    ({"launch": {"mode": "tdx"}}, "launch.mode", "known: sev, sev-es, snp"),
    ({"launch": {"policy": {"snp": 0x30000, "sev-spn": 1}}}, "launch.policy.sev-spn", "did you mean snp?"),
    ({"launch": {"policy": 30000}}, "launch.policy", "did you mean 0x30000? without 0x it is 0x7530"),
    ({"launch": {"policy": {"snp": 20000}}}, "launch.policy.snp", "did you mean 0x20000?"),
    ({"launch": {"mode": "sev-es", "policy": 1}}, "launch.policy", "0x5 is the same policy for SEV-ES"),
    ({"launch": {"policy": "0x30000"}}, "launch.policy", "a number is written without quotes: 0x30000"),
    (
        {"launch": {"policy": {"debug": "true"}}},
        "launch.policy.debug",
        "a boolean is written without quotes: true",
    ),
    ({"launch": {"policy": {"abi": 1.55}}}, "launch.policy.abi", "put it in quotes"),
    ({"guest": {"version": 1}}, "guest.version", 'put it in quotes: "1"'),
    ({"guest": {"version": 1.0}}, "guest.version", "put it in quotes"),
    ({"vcpu": {"count": "4"}}, "vcpu.count", "a number is written without quotes: 4"),
    ({"vcpu": {"count": "0x10"}}, "vcpu.count", "a number is written without quotes: 0x10"),
    ({"vcpu": {"model": None, "signature": "0x00a00f11"}}, "vcpu.signature", "without quotes: 0x00a00f11"),
    ({"vcpu": {"cpu": "EPYC"}}, "vcpu.cpu: unknown key", "did you mean model?"),
    ({"vcpu": {"cpus": 1}}, "vcpu.cpus", "did you mean count?"),
    ({"vcpu": {"vcpu-type": "EPYC"}}, "vcpu.vcpu-type", "did you mean model?"),
    ({"vcpu": {"model": "epyc-milan"}}, "vcpu.model", "did you mean EPYC-Milan"),
    ({"kernel": {"path": "k", "append": "quiet"}}, "kernel.append: unknown key", "did you mean cmdline?"),
    ({"kernel": {"path": "k", "kernel_hashes": True}}, "kernel.kernel_hashes", "did you mean hashes?"),
    ({"kernel": {"path": "k", "initrd": "i"}}, "kernel.initrd", "there is a table for it, [initrd]"),
    ({"firmware": {"ovmf": "OVMF.fd"}}, "firmware.ovmf", "did you mean path?"),
    ({"firmware": {"sha256": f"sha256:{SHA}"}}, "firmware.sha256", "without 'sha256:'"),
    ({"firmware": {"sha256": "sha256-q6urq6urq6urq6ur"}}, "firmware.sha256", "without 'sha256-'"),
    ({"firmware": {"vars-size": 1}}, "firmware.vars-size", "it is a key of [svsm]"),
    ({"machine": {"mem": "2G"}}, "machine.mem", "did you mean memory?"),
    ({"ovmf": {"path": "x"}}, "ovmf: unknown key", "did you mean firmware?"),
    ({"cpu": {"model": "x"}}, "cpu", "did you mean vcpu?"),
    ({"cmdline": "quiet"}, "cmdline", "it is a key of [kernel]"),
    ({"profile": "qemu"}, "profile", "it is a key of [launch]"),
    ({"launch": {"polcy": 1}}, "launch.polcy", "did you mean policy?"),
    ({"launch": {"zzz": 1}}, "launch.zzz", ""),
]


@pytest.mark.parametrize(("tables", "fault", "hint"), TABLE, ids=[f"{at}-{hint}" for _, at, hint in TABLE])
def test_hints_of_a_manifest(tables: dict[str, Any], fault: str, hint: str) -> None:
    merged = dict(GOOD)
    for name, table in tables.items():
        laid = {**merged.get(name, {}), **table} if isinstance(table, dict) else table
        if isinstance(laid, dict):
            laid = {key: value for key, value in laid.items() if value is not None}
        merged[name] = laid
    text = "".join(f"{name} = {toml_value(value)}\n" for name, value in merged.items())
    with pytest.raises(FaultsError) as caught:
        decode_manifest(text, "guest.toml")
    said = [(f"{entry.path}: {entry.message}", entry.hint) for entry in caught.value.faults]
    found = next((entry for entry in said if entry[0].startswith(fault)), None)
    assert found is not None, said
    assert hint in (found[1] or "")
    assert hint or found[1] is None


FILES: list[tuple[str, bytes, str, str]] = [
    (
        "bom",
        "\ufeffschema = 1\n".encode(),
        "guest.toml:1: not valid TOML: begins with a byte-order mark",
        "UTF-8",
    ),
    ("utf-16", "schema = 1\n".encode("utf-16"), "guest.toml:1: not UTF-8 text", "save it as UTF-8"),
    ("igvm", b"IGVM" + bytes(99), "is an IGVM file, not a manifest", "igvm.path"),
    (
        "kernel",
        bytes(0x1FE) + b"\x55\xaa\xeb\x66HdrS" + b"\xff" * 99,
        "is a Linux kernel",
        "under one of its keys",
    ),
    ("firmware", b"\xff" * 4096, "not UTF-8 text", "`sevbuild inspect` recognizes"),
    ("json", b'{"schema": 3}', "not valid TOML", "looks like JSON"),
    (
        "lock",
        b'schema = 1\nsevbuild = "1"\n[[input]]\nrole = "kernel"\n',
        "is a lock, not a manifest",
        "--lock",
    ),
    ("profile", b'schema = 1\nname = "x"\nextends = "qemu"\n', "is a profile, not a manifest", "profile ="),
    ("missing", b"", "cannot read", "`sevbuild init"),
    ("folder", b"", "Is a directory", "a manifest is a file, such as"),
]


@pytest.mark.parametrize(("name", "data", "said", "hint"), FILES, ids=[name for name, *_ in FILES])
def test_hints_where_something_else_is_given_as_the_manifest(
    tmp_path: Path, name: str, data: bytes, said: str, hint: str
) -> None:
    path = tmp_path / "guest.toml"
    if name == "folder":
        path.write_text("")
        path = tmp_path
    elif name != "missing":
        path.write_bytes(data)
    result = run("check", path)
    assert result.status == 2
    assert said in result.err
    assert hint in result.err.partition("hint: ")[2]


def test_modes_of_every_spelling() -> None:
    for word in ("snp", "SNP", "sev-snp", "sevsnp", "SEV_SNP", "sev-spn", "amd-sev-snp", "spn"):
        assert mode_hint(word) == "did you mean snp?"
    for word in ("sev-es", "SEVES", "es", "sev_se"):
        assert mode_hint(word) == "did you mean sev-es?"


def test_a_number_of_thousands_of_digits_is_a_fault_of_the_document() -> None:
    number = f"0x{'f' * 5000}"
    assert type_hint(int(number, 16), str) == "put it in quotes"
    with pytest.raises(FaultsError, match="must be a string, got an integer"):
        decode_lock(f'schema = 1\nsevbuild = "0"\ninput = []\n[profiles]\nqemu = {number}\n', "guest.lock")
