"""No key is accepted and ignored: each of them changes an output, or is a fault where it could not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sevbuild.identity.ecdsa import P384PublicKey
from sevbuild.image.igvm_areas import IGVM_GUID
from sevbuild.manifest.schema import manifest_schema
from tests.support.cli import Result, run
from tests.support.firmware import standard_firmware, standard_svsm, words
from tests.support.guests import write_manifest
from tests.support.pe import make_uki

PLAIN = {"firmware": {"path": "OVMF.fd"}}
KERNEL = {**PLAIN, "kernel": {"path": "kernel", "cmdline": "quiet"}}
INITRD = {**KERNEL, "initrd": {"path": "initrd"}}
SVSM = {**PLAIN, "launch": {"profile": "svsm-qemu"}, "svsm": {"path": "svsm.bin", "vars-size": 0x1000}}
READY = {"launch": {"profile": "qemu-igvm"}, "igvm": {"path": "ready.igvm"}}
SEED: dict[str, Any] = {
    "firmware": {
        "seed": "cd" * 48,
        "metadata": {
            "sections": [
                {"gpa": 0x1000, "size": 0x1000, "kind": "cpuid"},
                {"gpa": 0x810000, "size": 4096, "kind": 16},
            ],
            "reset": 0x80B004,
            "hash-table": 0x810C00,
        },
    },
    "kernel": {"sha256": "ab" * 32},
    "vcpu": {"count": 2},
}
ES = {**PLAIN, "launch": {"mode": "sev-es"}}
SIGNED = {**PLAIN, "id-block": {"key": "key.pem"}}
URL = "https://example.invalid/file"
ONE = {"count": 1, "model": None}

Case = tuple[dict[str, Any], Any, str]
"""A guest where the key matters, the value to be given to it, and the verb that shows it."""

CASES: dict[str, list[Case]] = {
    "schema": [(PLAIN, 2, "measure")],
    "guest.name": [(PLAIN, "other", "measure")],
    "guest.version": [(PLAIN, "2", "measure")],
    "launch.mode": [(PLAIN, "sev", "measure")],
    "launch.profile": [(PLAIN, "ec2", "measure")],
    "launch.order": [(PLAIN, "canonical", "measure"), (READY, "canonical", "measure")],
    "launch.policy": [
        (PLAIN, 0x20000, "measure"),
        (READY, 0x20000, "measure"),
        ({**PLAIN, "launch": {"mode": ["snp", "sev-es"]}}, {"abi": "1.55"}, "measure"),
        ({**PLAIN, "launch": {"mode": ["snp", "sev-es"]}}, {"api": "1.55"}, "measure"),
    ],
    "launch.policy.abi": [(PLAIN, "1.55", "measure")],
    "launch.policy.api": [(ES, "1.55", "measure")],
    "launch.guest-features": [(PLAIN, 0x21, "measure"), (READY, 0x21, "measure"), (ES, 0x20, "measure")],
    "launch.host-data": [
        (PLAIN, "ab" * 32, "build"),
        (ES, "ab" * 32, "build"),
        ({**PLAIN, "launch": {"mode": "sev"}}, "ab" * 32, "measure"),
        ({**PLAIN, "launch": {"profile": "ec2"}}, "ab" * 32, "build"),
    ],
    "firmware.path": [(PLAIN, "other.fd", "measure"), (READY, "OVMF.fd", "measure")],
    "firmware.url": [({"firmware": {"sha256": "OVMF.fd"}}, URL, "measure")],
    "firmware.sha256": [(PLAIN, "ab" * 32, "measure"), (SEED, "ab" * 32, "measure")],
    "firmware.seed": [(SEED, "ab" * 48, "measure")],
    "firmware.metadata": [
        ({**SEED, "firmware": {"seed": "cd" * 48}}, SEED["firmware"]["metadata"], "measure"),
        (PLAIN, SEED["firmware"]["metadata"], "measure"),
    ],
    "firmware.metadata.sections": [(SEED, [{"gpa": 0x810000, "size": 4096, "kind": 16}], "measure")],
    "firmware.metadata.sections[0].gpa": [(SEED, 0x2000, "measure")],
    "firmware.metadata.sections[0].size": [(SEED, 0x2000, "measure")],
    "firmware.metadata.sections[0].kind": [(SEED, "snp-secrets", "measure")],
    "firmware.metadata.reset": [(SEED, 0x1000, "measure")],
    "firmware.metadata.hash-table": [(SEED, 0x810800, "measure")],
    "igvm.path": [(READY, "other.igvm", "measure")],
    "igvm.sha256": [(READY, "ab" * 32, "measure")],
    "igvm.parameters": [
        ({**PLAIN, "launch": {"profile": "qemu-igvm"}}, True, "measure"),
        (READY, True, "measure"),
        (PLAIN, True, "measure"),
    ],
    "svsm.path": [
        (SVSM, "other.svsm", "measure"),
        ({**READY, "svsm": {"vars-size": 0}}, "svsm.bin", "measure"),
        ({**PLAIN, "svsm": {"vars-size": 0}}, "svsm.bin", "measure"),
    ],
    "svsm.url": [({**SVSM, "svsm": {"vars-size": 0, "sha256": "svsm.bin"}}, URL, "measure")],
    "svsm.sha256": [(SVSM, "ab" * 32, "measure")],
    "svsm.vars-size": [(SVSM, 0x2000, "measure")],
    "svsm.vars-path": [({**SVSM, "svsm": {"path": "svsm.bin"}}, "vars.fd", "measure")],
    "kernel.path": [(KERNEL, "other", "measure"), (READY, "kernel", "measure")],
    "kernel.url": [(PLAIN | {"kernel": {"sha256": "kernel", "uki-as": "kernel"}}, URL, "measure")],
    "kernel.sha256": [
        (KERNEL, "ab" * 32, "measure"),
        ({**PLAIN, "kernel": {"path": "kernel", "hashes": False}}, "ab" * 32, "measure"),
        ({**PLAIN, "kernel": {"uki": "image.efi", "uki-as": "parts"}}, "ab" * 32, "measure"),
    ],
    "kernel.uki": [({**PLAIN, "kernel": {"uki-as": "kernel"}}, "image.efi", "measure")],
    "kernel.uki-as": [
        ({**PLAIN, "kernel": {"uki": "image.efi", "uki-as": "kernel"}}, "parts", "measure"),
        (KERNEL, "parts", "measure"),
    ],
    "kernel.cmdline": [
        (KERNEL, "loud", "measure"),
        ({**PLAIN, "kernel": {"path": "kernel", "hashes": False}}, "loud", "build"),
        ({**PLAIN, "kernel": {"uki": "image.efi", "uki-as": "parts"}}, "loud", "measure"),
    ],
    "kernel.cmdline-file": [({**PLAIN, "kernel": {"path": "kernel"}}, "line", "measure")],
    "kernel.cmdlines": [({**PLAIN, "kernel": {"path": "kernel"}}, {"a": "x"}, "measure")],
    "kernel.hashes": [(KERNEL, False, "measure")],
    "initrd.path": [
        (INITRD, "other", "measure"),
        (PLAIN, "initrd", "measure"),
        ({**PLAIN, "kernel": {"uki": "image.efi", "uki-as": "parts"}}, "initrd", "measure"),
    ],
    "initrd.url": [(KERNEL | {"initrd": {"sha256": "initrd"}}, URL, "measure")],
    "initrd.sha256": [
        (INITRD, "ab" * 32, "measure"),
        (INITRD | {"kernel": {"path": "kernel", "hashes": False}}, "ab" * 32, "measure"),
    ],
    "variables.x": [
        ({**PLAIN, "kernel": {"path": "kernel", "cmdline": "{x}"}, "variables": {"x": "1"}}, 2, "measure"),
        (KERNEL, 2, "measure"),
        (PLAIN, 2, "measure"),
    ],
    "vcpu.count": [(PLAIN, 2, "measure")],
    "vcpu.model": [(PLAIN, "EPYC-Milan", "measure")],
    "vcpu.signature": [({**PLAIN, "vcpu": ONE}, 0x800F12, "measure")],
    "vcpu.family": [({**PLAIN, "vcpu": {**ONE, "model-number": 1, "stepping": 1}}, 23, "measure")],
    "vcpu.model-number": [({**PLAIN, "vcpu": {**ONE, "family": 25, "stepping": 1}}, 2, "measure")],
    "vcpu.stepping": [({**PLAIN, "vcpu": {**ONE, "family": 25, "model-number": 1}}, 2, "measure")],
    **{
        f"machine.{key}": [
            (PLAIN, value, "build"),
            ({**PLAIN, "launch": {"profile": "qemu-igvm"}}, value, "build"),
            ({**PLAIN, "launch": {"profile": "gce"}}, value, "build"),
        ]
        for key, value in {
            "memory": "8G",
            "cbitpos": 47,
            "reduced-phys-bits": 5,
            "extra-args": ["-device", "virtio-rng-pci"],
        }.items()
    },
    "id-block.key": [
        (PLAIN, "key.pem", "build"),
        (ES, "key.pem", "build"),
        ({**PLAIN, "launch": {"profile": "ec2"}}, "key.pem", "build"),
        (READY, "key.pem", "build"),
    ],
    "id-block.key-digest": [(PLAIN, "ab" * 48, "measure"), (SIGNED, "ab" * 48, "build")],
    "id-block.signed": [(PLAIN, "blocks", "build"), (SIGNED, "blocks", "build")],
    "id-block.author-key": [(SIGNED, "key.pem", "build"), (SIGNED, "key.pem", "measure")],
    "id-block.author-signature": [
        ({**PLAIN, "id-block": {"key": "key.pem", "author-key": "key.pub"}}, "key.sig", "build"),
        (SIGNED, "key.sig", "build"),
    ],
    "id-block.author-key-digest": [
        ({**PLAIN, "id-block": {"key-digest": "ab" * 48}}, "cd" * 48, "measure"),
        (SIGNED, "cd" * 48, "measure"),
    ],
    **{
        f"id-block.{key}": [(SIGNED, value, "build"), (SIGNED, value, "measure"), (PLAIN, value, "measure")]
        for key, value in {"family-id": "ab" * 16, "image-id": "cd" * 16, "guest-svn": 7}.items()
    },
    "publish.formats": [(PLAIN, ["hex"], "publish")],
}
FORMATS: dict[str, dict[str, Any]] = {
    "rvps": {
        "expiration": "2027-01-01T00:00:00Z",
        "name": "other",
        "config-map": "other",
        "namespace": "other",
    },
    "corim": {
        "class-id": "1.3.6.1.4.1.3704.3.2",
        "entity-name": "ACME",
        "entity-uri": "https://acme.example",
        "signer-name": "ACME",
        "signer-uri": "https://acme.example",
    },
    "go-sev-guest": {"product-line": "Genoa"},
    "contrast": {
        "platform": "Metal-QEMU-SNP",
        "product-name": "Milan",
        "tcb-bootloader": 4,
        "tcb-tee": 0,
        "tcb-snp": 24,
        "tcb-microcode": 219,
        "smt-enabled": True,
        "tsme-enabled": False,
        "minimum-mitigation-vector": 3,
        "allowed-chip-ids": ["ab" * 64],
    },
    "tinfoil": {
        "rtmr1": "11" * 48,
        "rtmr2": "22" * 48,
        "memory-mb": 4096,
        "gpus": 1,
        "disks": 3,
        "image-version": "0.4.1",
        "root": "33" * 32,
        "raw": "44" * 32,
        "config": "cvm-version: 0.4.1",
    },
    "igvm-identity": {"guest-svn": 7},
}
"""Values that the formats take. Each is left out in turn: the format is then another, or a fault."""


def _keys(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield every key of the manifest's schema; `publish` and `matrix` have their own tables here."""
    for key, value in schema.get("properties", {}).items():
        path = f"{prefix}{key}"
        if path in ("publish", "matrix", "launch.policy", "launch.guest-features") or not value.get(
            "properties"
        ):
            yield path if path != "variables" else "variables.x"
        else:
            if prefix:
                yield path
            yield from _keys(value, f"{path}.")


def _inputs(folder: Path) -> None:
    # Places for the loader's parameters, which `igvm.parameters` has the file fill.
    areas = b"IGVM" + words(40, 1, 2, 0x800000, 0x1000, 0x100, 0, 0xC0, 0x101)
    for name in ("OVMF", "other"):
        image = standard_firmware(extra_entries=[(IGVM_GUID, words(0x8000))], fill=name.encode())
        (folder / f"{name}.fd").write_bytes(image[:0x8000] + areas + image[0x8000 + len(areas) :])
        (folder / {"OVMF": "svsm.bin", "other": "other.svsm"}[name]).write_bytes(
            standard_svsm(fill=name.encode())
        )
    for name in ("kernel", "initrd", "other", "line"):
        (folder / name).write_bytes(name.encode())
    (folder / "vars.fd").write_bytes(bytes(0x2000))
    (folder / "image.efi").write_bytes(make_uki([(".linux", b"k"), (".initrd", b"i"), (".cmdline", b"c")]))
    key = ec.derive_private_key(0x5EB1D, ec.SECP384R1())
    kind = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "key.pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))
    field = P384PublicKey.of(key.public_key()).encode()
    (folder / "key.sig").write_bytes(key.sign(field, ec.ECDSA(hashes.SHA384())))
    plain = write_manifest(folder, **PLAIN)
    signing = ("--key", folder / "key.pem", "-o", folder / "blocks")
    assert run("id-block", "create", "-q", plain, *signing).status == 0
    for name, policy in (("ready", 0x30000), ("other", 0xB0000)):
        launch = {"profile": "qemu-igvm", "policy": policy}
        manifest = write_manifest(folder, firmware={"path": "OVMF.fd"}, launch=launch)
        assert run("build", "-q", manifest, "-o", folder / "built").status == 0
        (built,) = (folder / "built").rglob("guest.igvm")
        (folder / f"{name}.igvm").write_bytes(built.read_bytes())


def _copied(tables: dict[str, Any]) -> dict[str, Any]:
    """Return tables of their own."""
    found: dict[str, Any] = json.loads(json.dumps(tables))
    return found


def _merged(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return tables in which one more key is given."""
    tables = _copied(base)
    *parents, last = path.replace("[0]", ".0").split(".")
    at: Any = tables
    for parent in parents:
        at = at[int(parent)] if parent.isdigit() else at.setdefault(parent, {})
        if not isinstance(at, dict | list):
            return tables
    at[last] = value
    return tables


def _shown(folder: Path, tables: dict[str, Any], how: str) -> tuple[Result, dict[str, str]]:
    """Return how a run ended, and a digest of all that it wrote."""
    tables = _copied(tables)
    version = tables.pop("schema", 1)
    for table in tables.values():
        # A pin that names a file is the one of what the cache has for a URL.
        if isinstance(table, dict) and (folder / str(table.get("sha256"))).is_file():
            data = (folder / table["sha256"]).read_bytes()
            table["sha256"] = sha256(data).hexdigest()
            (folder / "cache" / "sha256").mkdir(parents=True, exist_ok=True)
            (folder / "cache" / "sha256" / table["sha256"]).write_bytes(data)
    manifest = write_manifest(folder, **tables)
    manifest.write_text(manifest.read_text().replace("schema = 1", f"schema = {version}", 1))
    output = folder / "output"
    verb, *more = how.split()
    by_verb: dict[str, list[str | Path]] = {
        "measure": ["-f", "json"],
        "build": ["-o", output],
        "publish": ["-o", output],
        "export": ["-o", f"{output}/", "-f", *more],
    }
    arguments = by_verb[verb]
    if "corim" in more:
        arguments += ["--sign", folder / "key.pem"]
    result = run(verb, "-q", manifest, *arguments)
    files = {"": sha256(result.out.encode()).hexdigest()}
    for path in sorted(output.rglob("*")) if output.exists() else ():
        if path.is_file():
            files[str(path.relative_to(output))] = sha256(path.read_bytes()).hexdigest()
    rmtree(output, ignore_errors=True)
    return result, files


@pytest.mark.slow
def test_every_key_of_the_schema_changes_an_output_or_is_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = manifest_schema()
    assert {path.partition(".sections[")[0] for path in CASES} - {
        "launch.policy.abi",
        "launch.policy.api",
    } == set(_keys(schema)) - {"publish", "matrix"} | {"publish.formats"}
    tables = schema["properties"]["publish"]["properties"]
    given = {name: set(table.get("properties", ())) for name, table in tables.items() if name != "formats"}
    assert {name: keys for name, keys in given.items() if keys} == {k: set(v) for k, v in FORMATS.items()}
    _inputs(tmp_path)
    monkeypatch.setenv("SEVBUILD_CACHE", str(tmp_path / "cache"))
    ignored = []
    for path, cases in CASES.items():
        for index, (base, value, verb) in enumerate(cases):
            without, before = _shown(tmp_path, base, verb)
            result, files = _shown(tmp_path, _merged(base, path, value), verb)
            assert result.status in (0, 1, 2), result.err
            # The first guest of each is one where the key is no fault, the schema's version and pins apart.
            wanted = {"schema": 2}.get(path, 1 if path.endswith(".sha256") else 0)
            assert index or result.status == wanted, f"{path}: {result.err}"
            if (result.status, files) == (without.status, before) and result.status != 2:
                ignored.append(f"{path} = {value} in {verb} of {base}")
    single = {**INITRD, "kernel": {"path": "kernel", "cmdline": "quiet"}}
    for name, values in FORMATS.items():
        whole = _shown(tmp_path, {**single, "publish": {name: values}}, f"export {name}")
        assert whole[0].status == 0, whole[0].err
        for key in values:
            less = {other: value for other, value in values.items() if other != key}
            result, files = _shown(tmp_path, {**single, "publish": {name: less}}, f"export {name}")
            if result.status == 0 and files == whole[1]:
                ignored.append(f"publish.{name}.{key}")
    assert ignored == []


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({**READY, "svsm": {"path": "svsm.bin", "vars-size": 0}}, "svsm: cannot be combined with [igvm]"),
        (
            {**READY, "launch": {**READY["launch"], "order": "canonical"}},
            "launch.order: cannot be combined with igvm.path",
        ),
        (
            {**PLAIN, "launch": {"mode": "sev", "host-data": "ab" * 32}},
            "launch.host-data: has no effect: no target is an SNP",
        ),
        (
            {**PLAIN, "launch": {"mode": ["snp", "sev"], "policy": {"abi": "1.55"}}},
            "launch.policy: one value cannot serve several modes",
        ),
        (
            {**PLAIN, "launch": {"profile": "gce"}, "machine": {"memory": "8G"}},
            "machine.memory: has no effect",
        ),
    ],
    ids=["svsm", "order", "host-data", "policy", "machine"],
)
def test_keys_without_effect_are_faults_with_their_line(
    tmp_path: Path, tables: dict[str, Any], message: str
) -> None:
    _inputs(tmp_path)
    result = run("measure", "-q", write_manifest(tmp_path, **tables))
    assert (result.status, result.out) == (2, "")
    assert "guest.toml:" in result.err
    assert message in result.err


def test_a_profile_is_no_option_for_documents_that_name_their_own(tmp_path: Path) -> None:
    _inputs(tmp_path)
    document = tmp_path / "values.json"
    document.write_text(run("measure", "-q", "-f", "json", write_manifest(tmp_path, **PLAIN)).out)
    assert run("recompute", "-q", document).status == 0
    for profile in ("ec2", "qemu"):
        result = run("recompute", "-q", document, "--profile", profile)
        assert (result.status, result.out) == (2, "")
        assert "names the profile of each value" in result.err
