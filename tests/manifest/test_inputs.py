"""The table of declared inputs: each stands in it once, and all that is made of a guest agrees with it."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.bundle.verify import verify_bundle
from sevbuild.bundle.write import build_bundle
from sevbuild.errors import FaultsError, MismatchError
from sevbuild.guest.guest import Guest
from sevbuild.guest.locking import resolve_lock
from sevbuild.guest.manifest_files import named_files
from sevbuild.guest.records import input_records
from sevbuild.manifest import decode
from sevbuild.manifest.inputs import (
    CMDLINE,
    INPUT_TABLES,
    ROLES,
    VARS,
    DeclaredInput,
    PathSource,
    Role,
    UrlSource,
    launched_as,
)
from sevbuild.manifest.lock import decode_lock, encode_lock
from sevbuild.manifest.overlays import TABLES
from tests.support.firmware import make_firmware, standard_firmware
from tests.support.guests import guest_of
from tests.support.pe import make_uki

SHA = sha256(b"").hexdigest()
SECTIONS = [
    {"gpa": 0x800000, "size": 0x9000, "kind": "snp-sec-mem"},
    {"gpa": 0x810000, "size": 0x1000, "kind": "kernel-hashes"},
]
SEED = {"seed": "ab" * 48, "metadata": {"hash-table": 0x810C00, "sections": SECTIONS}}
KERNEL, FIRST, SECOND = b"MZ kernel", b"070701 first", b"070701 second"
FILES = {
    "fw": standard_firmware(),
    "ready.igvm": b"IGVM",
    "svsm.bin": make_firmware(
        size=0x3000, sections=[(0x0, 0x9E000, 1), (0x810000, 0x1000, 0x10)], reset=None, svsm_entry=0x40
    ),
    "vars.fd": bytes(0x2000),
    "kernel": KERNEL,
    "whole.efi": make_uki([(".linux", KERNEL), (".initrd", FIRST), (".cmdline", b"ro")]),
    "bare.efi": make_uki([(".linux", KERNEL)]),
    "line": b"quiet",
    "one": FIRST,
    "two": SECOND,
}
PARTS = {".linux": KERNEL, ".initrd": FIRST}


def pinned(*names: str) -> dict[str, str]:
    """Return a pin of files, one after the other."""
    return {"sha256": sha256(b"".join(FILES[name] for name in names)).hexdigest()}


def url(name: str) -> str:
    """Return where a server has a file."""
    return f"https://example.org/{name}?raw=1"


@st.composite
def guests(draw: st.DrawFn, *, here: bool = False) -> dict[str, Any]:
    """Return the tables of a guest; `here` has every input on this machine, as FILES has it."""

    def one(name: str, key: str = "path", *, fetched: bool = True) -> dict[str, Any]:
        if fetched and not here and draw(st.booleans()):
            return {"url": url(name), **pinned(name)}
        return {key: name, **(pinned(name) if draw(st.booleans()) else {})}

    tables: dict[str, Any] = {}
    if not here and draw(st.booleans()):
        tables["launch"] = {"profile": "qemu-igvm"}
        tables["igvm"] = one("ready.igvm", fetched=False)
    else:
        by_seed = draw(st.booleans())
        tables["firmware"] = SEED if by_seed else one("fw")
        if not by_seed and draw(st.booleans()):
            stores: list[dict[str, Any]] = [{"vars-size": 0x2000}, {"vars-path": "vars.fd"}]
            tables["launch"] = {"profile": "svsm-qemu"}
            tables["svsm"] = {**one("svsm.bin"), **draw(st.sampled_from(stores))}
    kind = draw(st.sampled_from(["none", "file", "digest", "kernel", "parts"]))
    if kind == "none":
        return tables
    image = draw(st.sampled_from(["whole.efi", "bare.efi"]))
    if kind in ("kernel", "parts"):
        kernel = {**one(image, "uki"), "uki-as": kind}
    else:
        kernel = one("kernel") if kind == "file" else {"sha256": SHA}
    kernel["hashes"] = draw(st.booleans())
    if kind != "parts":
        kernel |= draw(st.sampled_from([{}, {"cmdline": "quiet"}, {"cmdline-file": "line"}]))
        files = draw(st.sampled_from([["one"], ["one", "two"]]))
        initrd: dict[str, Any] = {"path": files, **(pinned(*files) if draw(st.booleans()) else {})}
        fetched = {"url": [url(file) for file in files], "sha256": [SHA for _ in files]}
        choices = [None, initrd, {"path": "two"}, {"sha256": SHA}, *([] if here else [fetched])]
        tables["initrd"] = draw(st.sampled_from(choices))
    tables["kernel"] = kernel
    return {name: table for name, table in tables.items() if table is not None}


def _strings(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


@given(guests())
def test_each_input_is_declared_once(tables: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        written = Path(folder)
        manifest = decode.decode_manifest(_text(written, tables), "guest.toml")
    (variant,) = manifest.variants
    names = [
        name
        for table in INPUT_TABLES
        for key in ("path", "url", "uki", "vars-path", "cmdline-file")
        for name in _strings(tables.get(table, {}).get(key, []))
    ]
    files = [(key, source) for declared in variant.inputs for key, source in declared.files()]
    assert Counter(source.name for _, source in files) == Counter(names)
    for key, source in files:
        table, _, name = key.partition("[")[0].partition(".")
        assert source.name in _strings(tables[table][name])
        fetched = source.name.startswith("https://")
        assert isinstance(source, UrlSource if fetched else PathSource)
        assert source.basename == source.name.removeprefix("https://example.org/").removesuffix("?raw=1")
    # What is launched has one input a role, and each is found by it.
    launched = [declared for declared in variant.inputs if declared.launched]
    assert len({declared.role.launched_as for declared in launched}) == len(launched)
    assert [variant.declared(declared.role) for declared in launched] == launched
    # What has no file is known by the digest that its table gives in place of one.
    for declared in variant.inputs:
        if not declared.sources:
            given = {str(tables[declared.role.table].get(key)) for key in ("sha256", "seed")}
            assert declared.pin is not None
            assert declared.pin.hex() in given


def _text(folder: Path, tables: dict[str, Any]) -> str:
    from tests.support.guests import write_manifest

    return write_manifest(folder, **tables).read_text(encoding="utf-8")


def _contents(declared: DeclaredInput) -> bytes | None:
    """Return the bytes of an input that is on this machine, None for a part that is not there."""
    if declared.part:
        return PARTS[declared.part] if declared.part == ".linux" or "whole" in declared.name else None
    return b"".join(FILES[source.name] for source in declared.sources)


def _digest(declared: DeclaredInput) -> bytes | None:
    if not declared.sources:
        return declared.pin
    contents = _contents(declared)
    return None if contents is None else sha256(contents).digest()


def _written(folder: Path, tables: dict[str, Any]) -> Guest:
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return guest_of(folder, **tables)


@settings(max_examples=30)
@given(guests(here=True))
def test_locks_records_and_bundles_have_each_input(tables: dict[str, Any]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        guest = _written(folder, tables)
        (variant,) = guest.manifest.variants
        bundle = build_bundle(guest, str(folder / "bundle"))
        found = [declared for declared in variant.inputs if _digest(declared) is not None]
        locked = {
            (entry.role, entry.name, entry.part): entry
            for entry in resolve_lock(guest, guest.targets, everything=True).inputs
        }
        protected = {path for _, path in named_files(guest)}
        assert protected == {
            str(folder / source.name) for declared in found for _, source in declared.files()
        }
        records = {(record.role, record.digest) for record in input_records(guest, guest.targets)}
        assert verify_bundle(str(folder / "bundle")).document == bundle
    # An image in parts is locked by what is measured of it, or whole.
    lockable = [entry for entry in found if (entry.launched if entry.measured else not entry.part)]
    assert set(locked) == {(entry.role.name, entry.name, entry.part) for entry in lockable}
    for entry in lockable:
        lock = locked[entry.role.name, entry.name, entry.part]
        assert lock.digest == (None if entry.role is VARS else _digest(entry))
        assert lock.size == (len(_contents(entry) or b"") if entry.sources else None)
    assert records == {
        (entry.role.name, _digest(entry)) for entry in found if entry.measured and entry.role.recorded
    }
    bundled = {
        (launched_as(entry.role), digest, entry.measured)
        for entry in bundle.inputs
        for digest in (entry.sha256, entry.seed)
    }
    for entry in found:
        if entry.launched and entry.sources and entry.role is not CMDLINE:
            assert (entry.role.launched_as, _digest(entry), entry.measured) in bundled


@pytest.mark.parametrize("held", [False, True])
def test_a_made_up_kind_is_read_locked_and_bundled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, held: bool
) -> None:
    # CONTRIBUTING.md says what a new kind of input takes: its row.
    monkeypatch.setitem(ROLES, "dtb", Role("dtb", "dtb", ("path", "sha256"), held=held, needed=True))
    monkeypatch.setattr(decode, "TABLES", (*TABLES, "dtb"))
    tree = b"device tree"
    (tmp_path / "board.dtb").write_bytes(tree)
    tables: dict[str, Any] = {"firmware": {"path": "fw"}, "dtb": {"path": "board.dtb"}}
    guest = _written(tmp_path, tables)
    plain = _written(tmp_path, {"firmware": {"path": "fw"}})
    assert guest.measure()[0].digest == plain.measure()[0].digest
    lock = resolve_lock(guest, guest.targets, everything=True)
    assert decode_lock(encode_lock(lock), "guest.lock").inputs == lock.inputs
    (entry,) = [entry for entry in lock.inputs if entry.role == "dtb"]
    assert (entry.name, entry.size, entry.digest) == ("board.dtb", len(tree), sha256(tree).digest())
    assert not [record for record in input_records(guest, guest.targets) if record.role == "dtb"]
    bundle = build_bundle(_written(tmp_path, tables), str(tmp_path / "bundle"), inputs="none")
    assert (tmp_path / "bundle" / "inputs" / "dtb").read_bytes() == tree
    assert verify_bundle(str(tmp_path / "bundle")).document == bundle
    (kept,) = [entry for entry in bundle.inputs if entry.role == "dtb"]
    assert (kept.file, kept.measured) == ("inputs/dtb", False)
    with pytest.raises(FaultsError, match=r"dtb\.path: cannot read .*nothing"):
        _written(tmp_path, {**tables, "dtb": {"path": "nothing"}}).measure()
    with pytest.raises(FaultsError, match=r"dtb\.path: missing"):
        _written(tmp_path, {**tables, "dtb": {"sha256": SHA}})
    with pytest.raises(FaultsError, match=r"dtb\.url: unknown key"):
        _written(tmp_path, {**tables, "dtb": {"path": "board.dtb", "url": url("board.dtb")}})
    with pytest.raises(MismatchError, match=r"board\.dtb: sha256 is"):
        _written(tmp_path, {**tables, "dtb": {"path": "board.dtb", "sha256": SHA}}).measure()
