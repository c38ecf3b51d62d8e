"""Manifests: what is accepted, and everything that is said about what is not."""

from __future__ import annotations

import string
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.errors import Fault, FaultsError, SevbuildError
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.ovmf import Area, Metadata, Section
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.inputs import (
    CMDLINE,
    FIRMWARE,
    INITRD,
    KERNEL,
    SVSM,
    UKI,
    VARS,
    DeclaredInput,
    PathSource,
)
from sevbuild.manifest.machine_keys import MACHINE_KEYS
from sevbuild.manifest.model import Cmdline, Cpu, DirectBoot, Machine, Manifest, Variant
from sevbuild.manifest.targets import expand
from tests.support.guests import toml_value

GOOD: dict[str, Any] = {
    "schema": 1,
    "guest": {"name": "hello", "version": "1.0.0"},
    "launch": {"mode": "snp", "profile": "qemu"},
    "firmware": {"path": "OVMF.fd"},
    "vcpu": {"count": 1, "model": "EPYC-Milan"},
}
SHA = "ab" * 32
SEED = "cd" * 48


def _text(**tables: Any) -> str:
    """Return a manifest with a line per key: `schema` is line 1, a table's keys follow its header."""
    merged = dict(GOOD)
    for name, table in tables.items():
        base = merged.get(name)
        merged[name] = {**base, **table} if isinstance(base, dict) and isinstance(table, dict) else table
    lines = []
    late = []
    for name, table in merged.items():
        if isinstance(table, dict):
            late.append(f"[{name}]")
            late += [
                f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items() if value is not None
            ]
        elif table is not None:
            lines.append(f"{name} = {toml_value(table)}")
    return "\n".join(lines + late) + "\n"


def toml_key(key: str) -> str:
    """Return a key bare where it can be."""
    return key if key and set(key) <= set(string.ascii_letters + string.digits + "_-") else toml_value(key)


def decode(**tables: Any) -> Variant:
    """Return the only variant of a manifest."""
    (variant,) = decode_manifest(_text(**tables), "guest.toml").variants
    return variant


def faults(text: str, **settings_: Any) -> list[Fault]:
    """Return the faults of a text; it must have some."""
    with pytest.raises(FaultsError) as caught:
        expand(decode_manifest(text, "guest.toml", settings=settings_))
    return list(caught.value.faults)


def messages(**tables: Any) -> list[str]:
    """Return `path: message` of each fault."""
    return [f"{fault.path}: {fault.message}" for fault in faults(_text(**tables))]


def test_the_smallest_manifest_has_the_defaults() -> None:
    manifest = decode_manifest(_text(), "guest.toml", directory="/somewhere")
    assert isinstance(manifest, Manifest)
    assert (manifest.name, manifest.version, manifest.directory) == ("hello", "1.0.0", "/somewhere")
    (variant,) = manifest.variants
    assert (variant.modes, variant.profiles, variant.order) == (("snp",), ("qemu",), "profile")
    assert (variant.policies, variant.guest_features, variant.host_data) == ({}, {}, None)
    assert variant.inputs == (DeclaredInput(FIRMWARE, "firmware.path", (PathSource("OVMF.fd"),)),)
    assert (variant.seed, variant.kernel, variant.variables) == (None, None, {})
    assert (variant.counts, variant.cpus) == ((1,), (Cpu("EPYC-Milan", 0xA00F11),))


def test_kernel_and_initrds_are_inputs_with_their_pins() -> None:
    variant = decode(
        kernel={"path": "k", "sha256": SHA, "cmdline": "quiet"}, initrd={"path": ["a", "b"], "sha256": SHA}
    )
    pin = bytes.fromhex(SHA)
    assert variant.kernel == DirectBoot(None, True, (Cmdline(None, "quiet", "kernel.cmdline"),))
    assert variant.inputs[1:] == (
        DeclaredInput(KERNEL, "kernel.path", (PathSource("k"),), pin),
        DeclaredInput(INITRD, "initrd.path", (PathSource("a"), PathSource("b")), pin),
    )
    variant = decode(kernel={"uki": "u.efi", "uki-as": "parts", "hashes": False})
    assert variant.kernel == DirectBoot("parts", False, (Cmdline(None, None, "kernel.cmdline"),))
    image = DeclaredInput(UKI, "kernel.uki", (PathSource("u.efi"),), measured=False)
    assert variant.inputs[1:] == (
        image._replace(launched=False),
        image._replace(role=KERNEL, part=".linux"),
        image._replace(role=INITRD, part=".initrd"),
    )
    variant = decode(kernel={"sha256": SHA.upper(), "cmdline-file": "line"}, initrd={"sha256": f"0x{SHA}"})
    assert variant.kernel == DirectBoot(None, True, (Cmdline(None, None, "kernel.cmdline-file"),))
    assert variant.inputs[1:] == (
        DeclaredInput(CMDLINE, "kernel.cmdline-file", (PathSource("line"),)),
        DeclaredInput(KERNEL, "kernel.sha256", (), pin),
        DeclaredInput(INITRD, "initrd.sha256", (), pin),
    )
    variant = decode(kernel={"path": "k", "cmdlines": {"b": "two", "a": "one"}})
    assert variant.kernel is not None
    assert [(entry.name, entry.text) for entry in variant.kernel.cmdlines] == [("b", "two"), ("a", "one")]


def test_ingredients_of_a_firmware() -> None:
    sections = [
        {"gpa": 0x800000, "size": 0x9000, "kind": "snp-sec-mem"},
        {"gpa": 0x80D000, "size": 0x1000, "kind": 2},
    ]
    variant = decode(
        firmware={
            "path": None,
            "seed": SEED,
            "metadata": {"reset": 0x80B004, "hash-table": 0x810C00, "sections": sections},
        }
    )
    metadata = Metadata(
        (Section(0x800000, 0x9000, 1), Section(0x80D000, 0x1000, 2)), 0x80B004, Area(0x810C00, 0)
    )
    assert variant.seed == FirmwareSeed(bytes.fromhex(SEED), metadata)
    assert variant.inputs == (DeclaredInput(FIRMWARE, "firmware.seed", (), bytes.fromhex(SEED)),)


def test_an_svsm_and_its_variable_store_are_inputs() -> None:
    variant = decode(svsm={"path": "s", "vars-size": 0x84000})
    declared = DeclaredInput(SVSM, "svsm.path", (PathSource("s"),))
    assert (variant.inputs[1:], variant.vars_size) == ((declared,), 0x84000)
    variant = decode(svsm={"path": "s", "vars-path": "v", "sha256": SHA})
    store = DeclaredInput(VARS, "svsm.vars-path", (PathSource("v"),), measured=False)
    assert (variant.inputs[1:], variant.vars_size) == (
        (declared._replace(pin=bytes.fromhex(SHA)), store),
        None,
    )


@pytest.mark.parametrize(
    ("count", "counts"),
    [
        (3, (3,)),
        ([4, 1, 2], (1, 2, 4)),
        ("1-4", (1, 2, 3, 4)),
        (["1-2", 8], (1, 2, 8)),
        ("4096-4096", (4096,)),
    ],
)
def test_counts_are_numbers_lists_and_ranges(count: Any, counts: tuple[int, ...]) -> None:
    assert decode(vcpu={"count": count}).counts == counts


@pytest.mark.parametrize(
    ("table", "cpus"),
    [
        ({"model": ["EPYC-v4", "EPYC-Genoa"]}, [("EPYC-v4", 0x800F12), ("EPYC-Genoa", 0xA10F10)]),
        ({"signature": 0xA00F11}, [("0x00a00f11", 0xA00F11)]),
        ({"signature": [0, 0xFFFFFFFF]}, [("0x00000000", 0), ("0xffffffff", 0xFFFFFFFF)]),
        ({"family": 25, "model-number": 1, "stepping": 1}, [("0x00a00f11", 0xA00F11)]),
    ],
)
def test_cpus_are_named_or_have_a_signature(table: dict[str, Any], cpus: list[tuple[str, int]]) -> None:
    assert [tuple(cpu) for cpu in decode(vcpu={"model": None, **table}).cpus] == cpus


@pytest.mark.parametrize(
    ("launch", "policies"),
    [
        ({"policy": 0x20000}, {"snp": 0x20000}),
        ({"policy": {"debug": True, "smt": True, "abi": "1.55"}}, {"snp": 0xB0137}),
        ({"policy": {"single-socket": True, "abi": "2.0"}}, {"snp": 0x120200}),
        ({"mode": "sev", "policy": {"nodbg": True, "noks": True, "api": "1.51"}}, {"sev": 0x33010003}),
        ({"mode": "sev", "policy": {"sev": True}}, {"sev": 0x20}),
        ({"mode": "sev-es", "policy": {"nodbg": True}}, {"sev-es": 0x5}),
        (
            {"mode": ["snp", "sev-es"], "policy": {"snp": 0x20000, "sev-es": {"noks": True}}},
            {"snp": 0x20000, "sev-es": 0x6},
        ),
        ({"mode": ["sev", "snp"], "policy": {"sev": 0x3}}, {"sev": 0x3}),
        ({"mode": ["sev", "snp"], "policy": {"snp": {"smt": False}}}, {"snp": 0x20000}),
    ],
)
def test_policies_are_numbers_or_tables_of_bits_by_mode(
    launch: dict[str, Any], policies: dict[str, int]
) -> None:
    assert decode(launch=launch).policies == policies


@pytest.mark.parametrize(
    ("launch", "features"),
    [
        ({"guest-features": 0x21}, {"snp": 0x21}),
        ({"guest-features": ["snp-active", "debug-swap"]}, {"snp": 0x21}),
        ({"guest-features": []}, {"snp": 0}),
        (
            {"mode": ["snp", "sev-es"], "guest-features": {"sev-es": 0x20, "snp": ["snp-active"]}},
            {"snp": 1, "sev-es": 0x20},
        ),
    ],
)
def test_guest_features_are_numbers_or_names_by_mode(
    launch: dict[str, Any], features: dict[str, int]
) -> None:
    assert decode(launch=launch).guest_features == features


def test_host_data_and_variables() -> None:
    variant = decode(
        launch={"host-data": SHA},
        kernel={"path": "k", "cmdline": "{root} {n}"},
        variables={"root": "abc", "n": 4},
    )
    assert variant.host_data == bytes.fromhex(SHA)
    assert variant.variables == {"root": "abc", "n": "4"}


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"schema": None}, "schema: missing: an integer is required"),
    ({"guest": None}, "guest: missing: a table is required"),
    ({"guest": 5}, "guest: must be a table, got an integer"),
    ({"guest": {"name": "Hello"}}, "guest.name: must match [a-z0-9][a-z0-9._-]*, got 'Hello'"),
    ({"guest": {"name": "hello\n"}}, "guest.name: must match [a-z0-9][a-z0-9._-]*, got 'hello\\n'"),
    ({"guest": {"name": ""}}, "guest.name: must match [a-z0-9][a-z0-9._-]*, got ''"),
    ({"guest": {"name": "-a"}}, "guest.name: must match [a-z0-9][a-z0-9._-]*, got '-a'"),
    ({"guest": {"version": 1}}, "guest.version: must be a string, got an integer"),
    ({"guest": {"version": None}}, "guest.version: missing: a string is required"),
    ({"lunch": {}}, "lunch: unknown key"),
    ({"launch": {"mode": None}}, "launch.mode: missing: one of sev, sev-es, snp, or a list of them"),
    ({"launch": {"mode": "SNP"}}, "launch.mode: unknown value 'SNP'"),
    ({"launch": {"mode": ["snp", "snp"]}}, "launch.mode: lists the same one twice"),
    ({"launch": {"mode": []}}, "launch.mode: must not be empty"),
    ({"launch": {"mode": [1]}}, "launch.mode[0]: must be a string, got an integer"),
    ({"launch": {"profile": None}}, "launch.profile: missing: a profile's name or a path to one"),
    ({"launch": {"profile": "quemu"}}, "launch.profile[0]: unknown profile 'quemu'"),
    (
        {"launch": {"profile": "none.toml"}},
        "launch.profile[0]: cannot read none.toml: No such file or directory",
    ),
    ({"launch": {"profile": ["qemu", "qemu"]}}, "launch.profile: lists the same one twice"),
    ({"launch": {"order": "gpa"}}, "launch.order: unknown value 'gpa'"),
    ({"launch": {"polcy": 1}}, "launch.polcy: unknown key"),
    ({"launch": {"policy": True}}, "launch.policy: must be an integer, got a boolean"),
    ({"launch": {"policy": "0x30000"}}, "launch.policy: must be an integer, got a string"),
    (
        {"launch": {"policy": 1 << 64}},
        "launch.policy: must be 0x0..0xffffffffffffffff, got 0x10000000000000000",
    ),
    ({"launch": {"policy": 0x10000}}, "launch.policy: 0x10000 lacks bit 17, which must be one"),
    ({"launch": {"policy": 0x4020000}}, "launch.policy: 0x4020000 sets bits above 25, which must be zero"),
    (
        {"launch": {"mode": "sev", "policy": 0x30000}},
        "launch.policy: 0x30000 is SNP's default policy: here it would mean API 3.0",
    ),
    ({"launch": {"mode": "sev", "policy": 1 << 32}}, "launch.policy: 0x100000000 is not a 32-bit sev policy"),
    ({"launch": {"mode": "sev", "policy": 0x41}}, "launch.policy: 0x41 sets bits 15:6, which must be zero"),
    ({"launch": {"mode": "sev", "policy": 5}}, "launch.policy: 0x5 sets bit 2 (es)"),
    ({"launch": {"mode": "sev-es", "policy": 1}}, "launch.policy: 0x1 lacks bit 2 (es)"),
    ({"launch": {"mode": "sev-es", "policy": {"es": False}}}, "launch.policy: 0x0 lacks bit 2 (es)"),
    (
        {"launch": {"mode": ["sev", "snp"], "policy": 1}},
        "launch.policy: one value cannot serve several modes",
    ),
    (
        {"launch": {"mode": ["sev", "snp"], "policy": {"nodbg": True}}},
        "launch.policy: one value cannot serve several modes",
    ),
    (
        {"launch": {"policy": {"snp": 0x30000, "sev": 1}}},
        "launch.policy.sev: sev is not among the modes of launch.mode",
    ),
    ({"launch": {"policy": {"snp": 0x30000, "svm": 1}}}, "launch.policy.svm: unknown value 'svm'"),
    ({"launch": {"policy": {"nodbg": True}}}, "launch.policy.nodbg: unknown key"),
    (
        {"launch": {"policy": 1 << 5000}},
        "launch.policy: must be 0x0..0xffffffffffffffff, got a number of 5001 bits",
    ),
    ({"schema": 1 << 999}, "schema: must be 0x0..0xffffffff, got a number of 1000 bits"),
    ({"vcpu": {"count": 1 << 4000}}, "vcpu.count: must be 1..4096, got a number of 4001 bits"),
    ({"launch": {"policy": {}}}, "launch.policy: must not be empty"),
    ({"launch": {"policy": {"snp": {}}}}, "launch.policy.snp: must not be empty"),
    ({"launch": {"policy": {"debug": 1}}}, "launch.policy.debug: must be a boolean, got an integer"),
    (
        {"launch": {"policy": {"smt": True, "abi": "155"}}},
        "launch.policy.abi: must look like \"1.55\", got '155'",
    ),
    (
        {"launch": {"policy": {"smt": True, "abi": "1.256"}}},
        "launch.policy.abi: must look like \"1.55\", got '1.256'",
    ),
    (
        {"launch": {"policy": {"smt": True, "abi": "1.²"}}},
        "launch.policy.abi: must look like \"1.55\", got '1.²'",
    ),
    (
        {"launch": {"guest-features": ["debugswap"]}},
        "launch.guest-features[0]: unknown value 'debugswap'",
    ),
    ({"launch": {"guest-features": -1}}, "launch.guest-features: must be 0x0..0xffffffffffffffff, got -0x1"),
    (
        {"launch": {"mode": "sev", "guest-features": 1}},
        "launch.guest-features: an SEV guest has no VMSA, so no features",
    ),
    (
        {"launch": {"mode": ["sev-es", "snp"], "guest-features": 1}},
        "launch.guest-features: one value cannot serve several modes",
    ),
    ({"launch": {"host-data": "ab"}}, "launch.host-data: must be 64 hexadecimal digits, got 'ab'"),
    ({"launch": {"host-data": 5}}, "launch.host-data: must be a string, got an integer"),
    ({"firmware": None}, "firmware: missing: a table is required"),
    ({"firmware": {"path": None}}, "firmware.path: give either path or seed"),
    ({"firmware": {"path": ""}}, "firmware.path: must be the path of a file"),
    ({"firmware": {"path": "a\0b"}}, "firmware.path: must be the path of a file"),
    ({"firmware": {"seed": SEED}}, "firmware.path: give either path or seed"),
    (
        {"firmware": {"path": None, "seed": SEED}},
        "firmware.metadata: missing: a seed needs the sections, reset address and hash table of its firmware",
    ),
    (
        {"firmware": {"path": None, "seed": "ab", "metadata": {"sections": []}}},
        "firmware.seed: must be 96 hexadecimal digits, got 'ab'",
    ),
    (
        {"firmware": {"metadata": {"sections": [{"gpa": 0, "size": 4096, "kind": 1}]}}},
        "firmware.metadata: requires seed; a firmware file contains its own",
    ),
    (
        {"firmware": {"metadata": {}}},
        "firmware.metadata.sections: missing: the SEV metadata sections, in launch order",
    ),
    (
        {"firmware": {"metadata": {"sections": [5]}}},
        "firmware.metadata.sections[0]: must be a table, got an integer",
    ),
    (
        {"firmware": {"metadata": {"sections": [{"gpa": 0, "size": 1, "kind": "cpu"}]}}},
        "firmware.metadata.sections[0].kind: unknown value 'cpu'",
    ),
    (
        {"firmware": {"metadata": {"sections": [{"gpa": 0, "size": 1, "kind": 1, "x": 1}]}}},
        "firmware.metadata.sections[0].x: unknown key",
    ),
    ({"firmware": {"metadata": 1}}, "firmware.metadata: must be a table, got an integer"),
    (
        {
            "firmware": {
                "path": None,
                "seed": SEED,
                "sha256": SHA,
                "metadata": {"sections": [{"gpa": 0, "size": 4096, "kind": 1}]},
            }
        },
        "firmware.sha256: pins a file, but none is given",
    ),
    ({"igvm": {"parameters": True, "sha256": SHA}}, "igvm.sha256: pins a file, but none is given"),
    (
        {"igvm": {"parameters": True}, "svsm": {"path": "s", "vars-size": 0}},
        "svsm: cannot be combined with [igvm]: a file contains its own SVSM",
    ),
    (
        {"launch": {"order": "canonical"}, "igvm": {"path": "f"}, "firmware": None},
        "launch.order: cannot be combined with igvm.path: a loader follows the order of the ready file",
    ),
    (
        {"launch": {"mode": ["snp", "sev"], "policy": {"abi": "1.55"}}},
        "launch.policy: one value cannot serve several modes",
    ),
    ({"igvm": {"path": "https://h/f"}, "firmware": None}, "igvm.path: is a URL, not the path of a file"),
    (
        {"launch": {"profile": "~/mine.toml"}},
        "launch.profile: '~/mine.toml' begins with ~, which is not expanded",
    ),
    ({"kernel": {"path": "k"}, "initrd": {"path": ["i", ""]}}, "initrd.path[1]: must be the path of a file"),
    ({"firmware": {"sha256": "xyz"}}, "firmware.sha256: must be 64 hexadecimal digits, got 'xyz'"),
    ({"svsm": {"vars-size": 4096}}, "svsm.path: missing: a string is required"),
    (
        {"svsm": {"path": "s"}},
        "svsm.vars-size: give either vars-size or vars-path: the SVSM lies below the variable store",
    ),
    ({"svsm": {"path": "s", "vars-size": 1}}, "svsm.vars-size: must be a multiple of 4096, got 0x1"),
    ({"kernel": {}}, "kernel.path: missing: a kernel, a uki, or the sha256 of a kernel"),
    ({"kernel": {"path": "k", "uki": "u", "uki-as": "kernel"}}, "kernel.uki: give either path or uki"),
    ({"kernel": {"uki": "u"}}, "kernel.uki-as: must be given with uki"),
    ({"kernel": {"path": "k", "uki-as": "parts"}}, "kernel.uki-as: requires uki"),
    (
        {"kernel": {"uki": "u", "uki-as": "parts", "cmdline": "x"}},
        "kernel.uki-as: the parts include a command line; the manifest must not give another",
    ),
    ({"kernel": {"uki": "u", "uki-as": "both"}}, "kernel.uki-as: unknown value 'both'"),
    (
        {"kernel": {"path": "k", "cmdline": "x", "cmdline-file": "y"}},
        "kernel.cmdline-file: cannot be combined with cmdline: give one of them",
    ),
    (
        {"kernel": {"path": "k", "cmdline": "a\0b"}},
        "kernel.cmdline: must not contain a NUL: the first one ends a command line",
    ),
    ({"kernel": {"path": "k", "cmdlines": {}}}, "kernel.cmdlines: must not be empty"),
    (
        {"kernel": {"path": "k", "cmdlines": {"A/B": "x"}}},
        "kernel.cmdlines.A/B: the name of a variant must match [a-z0-9._-]+",
    ),
    ({"kernel": {"path": "k", "cmdlines": {"a": 1}}}, "kernel.cmdlines.a: must be a string, got an integer"),
    ({"kernel": {"path": "k", "hashes": "yes"}}, "kernel.hashes: must be a boolean, got a string"),
    ({"initrd": {"path": "i"}}, "initrd.path: an initrd requires a [kernel]"),
    (
        {"kernel": {"path": "k"}, "initrd": {}},
        "initrd.path: missing: the initrd, or a list of files, or its sha256",
    ),
    ({"kernel": {"path": "k"}, "initrd": {"path": []}}, "initrd.path: must not be empty"),
    (
        {"kernel": {"uki": "u", "uki-as": "parts"}, "initrd": {"path": "i"}},
        "initrd.path: the parts of the uki include an initrd; the manifest must not give another",
    ),
    ({"variables": {"a-b": "x"}}, "variables.a-b: the name of a variable must be an identifier"),
    ({"variables": {"vcpus": "x"}}, "variables.vcpus: is set by sevbuild for each target"),
    ({"variables": {"a": [1]}}, "variables.a: must be a string, got a list"),
    ({"vcpu": None}, "vcpu: missing: a table is required"),
    ({"vcpu": {"count": None}}, 'vcpu.count: missing: a number, a list, or a range like "1-64"'),
    ({"vcpu": {"count": 0}}, "vcpu.count: must be 1..4096, got 0"),
    ({"vcpu": {"count": -3}}, "vcpu.count: must be 1..4096, got -3"),
    ({"vcpu": {"count": [1, 2, 0]}}, "vcpu.count[2]: must be 1..4096, got 0"),
    ({"vcpu": {"count": [1, 1]}}, "vcpu.count[1]: 1 is listed twice"),
    ({"vcpu": {"count": ["1-3", 2]}}, "vcpu.count[1]: 2 is listed twice"),
    ({"vcpu": {"count": "64-1"}}, "vcpu.count: must be within 1..4096 and ascending, got '64-1'"),
    ({"vcpu": {"count": "1-99999"}}, "vcpu.count: must be within 1..4096 and ascending, got '1-99999'"),
    ({"vcpu": {"count": "many"}}, "vcpu.count: must be a number or a range like \"1-64\", got 'many'"),
    ({"vcpu": {"count": "1-²"}}, "vcpu.count: must be a number or a range like \"1-64\", got '1-²'"),
    ({"vcpu": {"count": 1.5}}, "vcpu.count: must be an integer, got a float"),
    ({"vcpu": {"count": True}}, "vcpu.count: must be an integer, got a boolean"),
    ({"vcpu": {"count": []}}, "vcpu.count: must not be empty"),
    (
        {"vcpu": {"model": None}},
        "vcpu.model: missing: a CPU model, a signature, or family, model-number and stepping",
    ),
    ({"vcpu": {"model": "EPYC-Millan"}}, "vcpu.model: unknown CPU model 'EPYC-Millan'"),
    ({"vcpu": {"model": "host"}}, "vcpu.model: unknown CPU model 'host'"),
    ({"vcpu": {"model": ["EPYC", "EPYC"]}}, "vcpu.model: lists the same CPU twice"),
    ({"vcpu": {"signature": 1}}, "vcpu.signature: cannot be combined with model: give the CPU in one way"),
    ({"vcpu": {"family": 25}}, "vcpu.family: cannot be combined with model: give the CPU in one way"),
    (
        {"vcpu": {"model": None, "signature": 1 << 32}},
        "vcpu.signature: must be 0x0..0xffffffff, got 0x100000000",
    ),
    (
        {"vcpu": {"model": None, "family": 25, "stepping": 1}},
        "vcpu.model-number: missing: an integer is required",
    ),
    (
        {"vcpu": {"model": None, "family": 300, "model-number": 1, "stepping": 1}},
        "vcpu.family: must be 0..270, got 300",
    ),
    ({"matrix": 5}, "matrix: must be a list, got an integer"),
    ({"matrix": []}, "matrix: must be a non-empty list of tables: write [[matrix]]"),
    ({"matrix": [5]}, "matrix[0]: must be a table, got an integer"),
    ({"matrix": [{"guest": {}}]}, "matrix[0].guest: is not a table that an entry can override"),
    ({"matrix": [{"vcpu": 1}]}, "matrix[0].vcpu: must be a table, got an integer"),
    ({"matrix": [{"vcpu": {"count": 0}}]}, "matrix[0].vcpu.count: must be 1..4096, got 0"),
]


@pytest.mark.parametrize(("tables", "expected"), FAULTS)
def test_each_fault_has_its_message(tables: dict[str, Any], expected: str) -> None:
    assert expected in messages(**tables)


HINTS = [
    ({"lunch": {}}, "did you mean launch?"),
    ({"launch": {"polcy": 1}}, "did you mean policy?"),
    ({"launch": {"profile": "quemu"}}, "did you mean qemu?"),
    ({"launch": {"profile": "xyz"}}, "`sevbuild profiles` lists them"),
    ({"launch": {"mode": "sve"}}, "did you mean sev?"),
    ({"launch": {"mode": "nothing"}}, "known: sev, sev-es, snp"),
    ({"launch": {"guest-features": ["debugswap"]}}, "did you mean debug-swap?"),
    ({"vcpu": {"model": "EPYC-Millan"}}, "did you mean EPYC-Milan?"),
    ({"vcpu": {"model": "host"}}, "give its signature"),
    ({"vcpu": {"model": "x"}}, "`sevbuild cpus` lists them"),
    ({"launch": {"mode": ["sev", "snp"], "policy": 1}}, "write a table: policy = { sev = ..., snp = ... }"),
    ({"launch": {"mode": "sev-es", "policy": 1}}, "0x5 is the same policy for SEV-ES"),
    ({"launch": {"policy": 0x24}}, "0x20024 has it"),
]


@pytest.mark.parametrize(("tables", "hint"), HINTS)
def test_each_mistake_has_its_hint(tables: dict[str, Any], hint: str) -> None:
    assert any(hint in (fault.hint or "") for fault in faults(_text(**tables)))


def test_all_faults_at_once_with_their_lines() -> None:
    text = """schema = 1
[guest]
name = "Bad"
version = "1"
[launch]
mode = "snp"
profile = "qemu"
policy = { debug = 1, smt = "x" }
[firmware]
path = ""
[vcpu]
count = [
  1,
  0,
]
model = "EPYC-Milano"
[[matrix]]
launch = { profile = "nowhere" }
[[matrix]]
[matrix.vcpu]
model = "EPYK"
"""
    found = [str(fault) for fault in faults(text)]
    assert found == [
        "guest.toml:3: guest.name: must match [a-z0-9][a-z0-9._-]*, got 'Bad'",
        "guest.toml:8: launch.policy.smt: must be a boolean, got a string",
        "guest.toml:8: launch.policy.debug: must be a boolean, got an integer",
        "guest.toml:10: firmware.path: must be the path of a file",
        "guest.toml:14: vcpu.count[1]: must be 1..4096, got 0",
        "guest.toml:16: vcpu.model: unknown CPU model 'EPYC-Milano'",
        "guest.toml:21: matrix[1].vcpu.model: unknown CPU model 'EPYK'",
    ]


def test_faults_of_the_matrix_stand_where_they_were_written() -> None:
    text = _text() + '[[matrix]]\nlaunch.profile = "ec2"\n[[matrix]]\nlaunch.profile = ["qemu", "emu"]\n'
    (fault,) = faults(text)
    assert (fault.path, fault.line) == ("matrix[1].launch.profile[1]", len(text.splitlines()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 50_000, "nested too deeply"),
        ("a = " + "9" * 5_000, "a number or date out of range"),
        ("a = 2024-02-31", "invalid date"),
    ],
)
def test_what_python_itself_refuses(text: str, message: str) -> None:
    (fault,) = faults(text)
    assert "not valid TOML" in fault.message
    assert message in fault.message


def test_syntax_errors_have_a_line() -> None:
    (fault,) = faults("schema = 1\nname = \n")
    assert (fault.line, fault.path) == (2, "")
    assert str(fault).startswith("guest.toml:2: not valid TOML: ")
    (fault,) = faults("a = 1\na = 2\n")
    assert fault.line == 2
    (fault,) = faults("a = " + "[" * 5000)
    assert "not valid TOML" in fault.message


def test_another_schema_version_is_one_plain_sentence() -> None:
    (fault,) = faults("schema = 2\nfuture = true\n")
    assert str(fault) == "guest.toml:1: schema: unsupported schema version 2; this release reads version 1"


def test_settings_override_and_are_named_in_faults() -> None:
    manifest = decode_manifest(
        _text(), "guest.toml", settings={"vcpu.count": "1-3", "kernel.path": "k", "vcpu.model": "EPYC"}
    )
    (variant,) = manifest.variants
    assert variant.counts == (1, 2, 3)
    assert variant.kernel is not None
    (fault,) = faults(_text(), **{"vcpu.count": 0})
    assert str(fault) == "--set: vcpu.count: must be 1..4096, got 0"
    (fault,) = faults(_text(), **{"schema.x": 0})
    assert str(fault) == "--set: schema.x: schema is not a table in the manifest"
    (fault,) = faults(_text(), **{"launch.policy.debug": 3})
    assert fault.source == "--set"


def test_a_version_is_text() -> None:
    """Of other bytes, documents would be written that no reader takes."""
    (fault,) = faults(_text(), **{"guest.version": "1\udcff"})
    assert str(fault) == "--set: guest.version: is not UTF-8 text"


def test_matrix_entries_are_laid_over_the_tables() -> None:
    text = (
        _text(kernel={"path": "k"})
        + '[[matrix]]\nlaunch = { policy = 0x20000 }\n[[matrix]]\nvcpu = { count = 7 }\ninitrd = { path = "i" }\n'
    )
    one, two = decode_manifest(text, "guest.toml").variants
    initrd = DeclaredInput(INITRD, "initrd.path", (PathSource("i"),))
    assert (one.policies, one.counts, one.declared(INITRD)) == ({"snp": 0x20000}, (1,), None)
    assert (two.policies, two.counts, two.declared(INITRD)) == ({}, (7,), initrd)
    assert one.document.where("launch.policy") == f"guest.toml:{len(text.splitlines()) - 3}"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.text(max_size=8)
    | st.sampled_from(["snp", "qemu", "EPYC", "1-3", SHA]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
KEYS = ["mode", "profile", "order", "policy", "guest-features", "path", "sha256", "seed", "metadata", "sections", "gpa",
        "count", "model", "signature", "family", "cmdline", "cmdlines", "uki", "uki-as", "name", "version", "reset"]  # fmt: skip
tables_ = st.dictionaries(
    st.sampled_from(
        ["schema", "guest", "launch", "firmware", "svsm", "kernel", "initrd", "variables", "vcpu", "matrix"]
    ),
    values | st.dictionaries(st.sampled_from(KEYS), values, max_size=4),
    max_size=6,
)


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _clean(entry) for key, entry in value.items() if entry is not None}
    return [_clean(entry) for entry in value if entry is not None] if isinstance(value, list) else value


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(tables_, st.booleans())
def test_whatever_is_written_is_decoded_or_refused(tables: dict[str, Any], whole: bool) -> None:
    merged = {**GOOD, **tables} if whole else tables
    text = "".join(
        f"{toml_key(name)} = {toml_value(_clean(value))}\n"
        for name, value in merged.items()
        if value is not None
    )
    with suppress(SevbuildError):
        assert isinstance(expand(decode_manifest(text, "guest.toml")), list)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.integers(0, 120))
def test_any_text_is_decoded_or_refused(noise: str, at: int) -> None:
    text = _text()
    with suppress(SevbuildError):
        decode_manifest(text[:at] + noise + text[at:], "guest.toml")


def test_the_machine_is_as_declared_or_has_defaults() -> None:
    text = (
        BASIC_MACHINE
        + 'machine = { memory = "4G", cbitpos = 47, reduced-phys-bits = 5, extra-args = ["-S"] }\n'
    )
    (variant,) = decode_manifest(text, "guest.toml").variants
    assert variant.machine == Machine("4G", 47, 5, ("-S",), MACHINE_KEYS)
    (variant,) = decode_manifest(BASIC_MACHINE, "guest.toml").variants
    assert variant.machine == Machine("2G", 51, 1)


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ('memory = "4"', "must be a size"),
        ('memory = "0G"', "must be a size"),
        ("memory = 4", "must be a string"),
        ("cbitpos = 64", "must be 0..63"),
        ("reduced-phys-bits = 0", "must be 1..63"),
        ('extra-args = "-S"', "must be a list"),
        ("extra-args = [1]", "must be a string"),
        ('extra-args = ["a\\u0000"]', "must not contain a NUL"),
        ('extra-args = ["-smp", "8"]', "-smp is set elsewhere"),
        ('extra-args = ["--append", "x"]', "-append is set elsewhere"),
        ('extra-args = ["-object", "sev-guest,id=x"]', "the object is set elsewhere"),
        ('extra-args = ["-object", "qom-type=igvm-cfg,id=x"]', "is set elsewhere"),
        ("nonsense = 1", "unknown key"),
    ],
)
def test_a_machine_at_fault(machine: str, message: str) -> None:
    with pytest.raises(FaultsError) as caught:
        decode_manifest(BASIC_MACHINE + f"machine = {{ {machine} }}\n", "guest.toml")
    assert message in str(caught.value)


BASIC_MACHINE = """schema = 1
guest = { name = "a", version = "1" }
launch = { mode = "snp", profile = "qemu" }
firmware = { path = "f" }
vcpu = { count = 1, model = "EPYC" }
"""
