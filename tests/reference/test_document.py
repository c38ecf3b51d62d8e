"""The reference-values document: complete, small, the same every time, and read strictly."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from sevbuild.errors import FaultsError, SevbuildError
from sevbuild.guest.guest import load_guest
from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.reference.collect import collect_values
from sevbuild.reference.document import document_text, reference_document
from sevbuild.reference.model import ReferenceValues
from sevbuild.reference.orders import check_orders
from sevbuild.reference.read import is_reference_document, read_reference_values
from sevbuild.reference.schema import reference_values_schema
from tests.bundle.support import make_inputs
from tests.export.support import document, typed
from tests.support.cli import run
from tests.support.firmware import standard_firmware, standard_svsm
from tests.support.guests import guest_of, write_manifest
from tests.support.shared import ROOT


def everything(folder: Path) -> ReferenceValues:
    """Return the values of a guest in all modes and several profiles, with all that an entry can have."""
    image = standard_firmware()
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "svsm.bin").write_bytes(standard_svsm())
    (folder / "kernel").write_bytes(b"kernel")
    kernel = {
        "path": "kernel",
        "cmdlines": {"plain": "quiet {{", "smp": "n={vcpus} of {cpu} {cpu_signature}"},
    }
    guest = guest_of(
        folder,
        launch={"mode": None, "profile": None},
        firmware={"path": "OVMF.fd"},
        vcpu={"count": [1, 2]},
        matrix=[
            {"launch": {"mode": ["sev", "sev-es", "snp"], "profile": "qemu"}, "kernel": kernel},
            {"launch": {"mode": "snp", "profile": "ec2"}, "kernel": {"path": "kernel"}},
            {
                "launch": {"mode": "snp", "profile": "svsm-qemu"},
                "svsm": {"path": "svsm.bin", "vars-size": 0x1000},
            },
        ],
    )
    values = collect_values(guest, guest.measure())
    block = ReportedIdBlock(b"\1" * 48, b"\2" * 48, b"\3" * 16, b"\4" * 16, 7)
    last = values.values[-1]._replace(id_block=block)
    return values._replace(values=(*values.values[:-1], last))


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> ReferenceValues:
    """Return such values."""
    return everything(tmp_path_factory.mktemp("guest"))


def test_what_is_written_is_read(values: ReferenceValues) -> None:
    text = document_text(values)
    assert read_reference_values("x", text.encode()) == values
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def test_an_id_block_is_read_with_and_without_an_author(values: ReferenceValues) -> None:
    last = values.values[-1]
    assert last.id_block is not None
    for key in (last.id_block.author_key_digest, None):
        block = last.id_block._replace(author_key_digest=key)
        of = values._replace(values=(*values.values[:-1], last._replace(id_block=block)))
        assert read_reference_values("v.json", document_text(of).encode()) == of


def test_a_unified_image_launched_whole_is_the_kernel(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    path = write_manifest(
        tmp_path, firmware={"path": "OVMF.fd"}, kernel={"uki": "image.efi", "uki-as": "kernel"}
    )
    document = tmp_path / "values.json"
    document.write_text(run("measure", path, "-f", "json").out)
    assert run("verify", document).out == "1 target: 1 equal\n"
    assert run("verify", document, "-q", "--against", path).out == "1 target: 1 equal\n"


def test_the_schema_accepts_what_is_written(values: ReferenceValues) -> None:
    schema = json.loads(run("schema", "--of", "reference-values").out)
    assert schema == reference_values_schema()
    Draft7Validator.check_schema(schema)
    Draft7Validator(schema).validate(reference_document(values))
    wrong = run("schema", "--of", "lock-file")
    assert (wrong.status, wrong.out) == (2, "")


def test_each_shape_has_its_ingredients_once(values: ReferenceValues) -> None:
    assert [entry.name for entry in values.ingredients] == [
        "sev/qemu",
        "sev/qemu/2",
        "sev-es/qemu",
        "sev-es/qemu/2",
        "snp/qemu",
        "snp/qemu/2",
        "snp/ec2",
        "snp/svsm-qemu",
    ]
    by_name = {entry.name: entry for entry in values.ingredients}
    assert by_name["sev-es/qemu"].seed is None
    plain, smp = by_name["snp/qemu"].kernel, by_name["snp/qemu/2"].kernel
    assert plain is not None
    assert smp is not None
    assert (plain.cmdline, smp.cmdline) == ("quiet {{", "n={vcpus} of {cpu} {cpu_signature}")
    assert plain.cmdline_sha256 is not None
    assert smp.cmdline_sha256 is None
    # On EC2 the CPUID page is launched last, and so it is listed.
    sections = by_name["snp/ec2"].metadata.sections
    assert sections is not None
    assert [section.kind for section in sections] == [1, 2, 0x10, 3]
    svsm = by_name["snp/svsm-qemu"].svsm
    assert svsm is not None
    assert [section.kind for section in svsm.sections] == [1, 2, 3]
    assert [profile.name for profile in values.profiles] == ["ec2", "qemu", "svsm-qemu"]


def test_a_fleet_needs_three_sets_of_ingredients() -> None:
    guest = load_guest(str(ROOT / "guests" / "fleet" / "guest.toml"))
    values = collect_values(guest, guest.measure())
    assert (len(values.values), len(values.ingredients), len(values.profiles)) == (960, 3, 3)


@pytest.mark.parametrize("name", ["hello", "fleet"])
def test_the_documents_checked_in_are_current(name: str) -> None:
    folder = ROOT / "guests" / name
    result = run("measure", "-q", folder / "guest.toml", "--format", "json")
    assert (folder / "reference-values.json").read_text() == result.out


def test_a_target_that_cannot_boot_says_so_and_no_other(values: ReferenceValues) -> None:
    doubted = {value.profile: value.doubts for value in values.values}
    assert {profile for profile, doubts in doubted.items() if doubts} == {"ec2"}
    ((kind, reason),) = doubted["ec2"] or ()
    assert (kind, "start no kernel of the tenant's" in reason) == ("cannot-boot", True)
    document = reference_document(values)
    assert ["doubts" in value for value in document["values"]] == [
        value["profile"] == "ec2" for value in document["values"]
    ]


def test_two_profiles_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    for folder, text in (("a", ""), ("b", "[initial-state]\nrdx = 0x1\n")):
        (tmp_path / folder).mkdir()
        head = 'schema = 1\nname = "mine"\nsummary = "mine"\nas-of = "2026"\nextends = "qemu"\n'
        (tmp_path / folder / "mine.toml").write_text(head + text)
    guest = guest_of(
        tmp_path,
        launch={"profile": None},
        firmware={"path": "OVMF.fd"},
        vcpu={"count": None},
        matrix=[
            {"launch": {"profile": "a/mine.toml"}, "vcpu": {"count": 1}},
            {"launch": {"profile": "b/mine.toml"}, "vcpu": {"count": 2}},
        ],
    )
    with pytest.raises(SevbuildError, match="two different profiles are called mine"):
        collect_values(guest, guest.measure())


def test_a_command_line_that_is_not_utf_8_is_known_by_its_digest(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "kernel").write_bytes(b"kernel")
    tables: dict[str, Any] = {
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdline-file": "cmdline"},
    }
    for line, known in ((b"a=\xff", True), (b"a=\xff {vcpus}", False)):
        (tmp_path / "cmdline").write_bytes(line)
        guest = guest_of(tmp_path, **tables)
        text = document_text(collect_values(guest, guest.measure()))
        path = tmp_path / "values.json"
        path.write_text(text)
        result = run("recompute", path)
        if known:
            assert result.out.strip() == run("measure", "-q", tmp_path / "guest.toml").out.strip()
        else:
            assert (result.status, result.out) == (2, "")
            assert "give it with --cmdline-file" in result.err
            assert "1 not checked" in run("verify", path).out


def test_launch_values_are_those_of_the_profile(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    guest = guest_of(tmp_path, firmware={"path": "OVMF.fd"})
    profile = guest.targets[0].profile
    (published,) = collect_values(guest, guest.measure()).profiles
    assert published == (profile.name, profile.prose.as_of, profile.rules.launch)
    text = document_text(collect_values(guest, guest.measure()))
    assert read_reference_values("x", text.encode()).profiles == (published,)


def _places(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    entries: Any = ()
    if isinstance(node, dict):
        entries = node.items()
    elif isinstance(node, list):
        entries = enumerate(node)
    for key, entry in entries:
        yield from _places(entry, (*path, key))


def _at(document: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def _shown(path: tuple[str | int, ...]) -> str:
    text = "$"
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text


def test_an_unknown_key_is_refused_everywhere(values: ReferenceValues) -> None:
    document = reference_document(values)
    schema = Draft7Validator(reference_values_schema())
    objects = [path for path in _places(document) if isinstance(_at(document, path), dict)]
    assert len(objects) > 100
    # One of each shape: the first of every list.
    for path in [path for path in objects if not any(isinstance(key, int) and key for key in path)]:
        changed = copy.deepcopy(document)
        _at(changed, path)["surprise"] = 1
        with pytest.raises(FaultsError) as caught:
            read_reference_values("v.json", json.dumps(changed).encode())
        (fault,) = caught.value.faults
        assert str(fault).startswith(f"v.json: {_shown((*path, 'surprise'))}: ")
        assert not schema.is_valid(changed)


@pytest.mark.slow
def test_every_key_counts(values: ReferenceValues) -> None:
    """Take one key away at a time: reader and schema agree on whether it may be absent."""
    document = reference_document(values)
    schema = Draft7Validator(reference_values_schema())
    last = len(document["values"]) - 1
    paths = [
        path
        for path in _places(document)
        if path and isinstance(path[-1], str) and (path[0] != "values" or path[1:2] in ((), (0,), (last,)))
    ]
    for path in paths:
        changed = copy.deepcopy(document)
        del _at(changed, path[:-1])[path[-1]]
        # What names nothing any more is beyond a schema.
        if path[-1] in ("profiles", "ingredients") or path[0] == "inputs" or path[0] == "schema":
            continue
        try:
            read_reference_values("v.json", json.dumps(changed).encode())
        except FaultsError:
            assert not schema.is_valid(changed), path
        else:
            assert schema.is_valid(changed), path


OTHERS: list[Any] = [
    *(None, True, -1, 1 << 70, "", "0x", "zz", "0x" + "f" * 17),
    *([], {}, [None], [[]], {"a": 1}),
]


@given(st.data())
def test_no_value_of_another_type_gets_through_or_crashes(data: st.DataObject) -> None:
    document = json.loads((ROOT / "guests" / "hello" / "reference-values.json").read_text())
    path = data.draw(st.sampled_from([path for path in _places(document) if path]))
    other = data.draw(st.sampled_from(OTHERS))
    _at(document, path[:-1])[path[-1]] = other
    message = ""
    try:
        read = read_reference_values("v.json", json.dumps(document).encode())
        assert read_reference_values("v.json", document_text(read).encode()) == read
    except SevbuildError as error:
        message = error.message
    assert not message or "v.json: $" in message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff", "v.json: not UTF-8 text"),
        (b"", "v.json:1: not valid JSON: expecting value"),
        (b'{"a": 1,\n]', "v.json:2: not valid JSON"),
        (b"[" * 200_000, "v.json: not valid JSON: nested too deeply"),
        (b'{"schema": ' + b"1" * 5000 + b"}", "a number has too many digits"),
        (b'{"schema": 1, "schema": 1}', "the key 'schema' appears twice in one object"),
        (b'{"schema": 1.0}', "1.0 is not an integer"),
        (b'{"schema": NaN}', "NaN is not an integer"),
        (b'{"schema": "\\ud800"}', "an unpaired surrogate"),
        (b"[]", "v.json: not reference values"),
        (b'{"schema": 2}', "$.schema is 2; this release reads only version 1"),
        (b'{"schema": true}', "$.schema is True; this release reads only version 1"),
        (b'{"schema": []}', "$.schema is 'another value'; this release reads only version 1"),
        (b'{"schema": 1}', "v.json: $.guest: missing"),
        (b'{"schema": 1, "values": [0]}', "v.json: $.values[0]: must be an object"),
        (b'{"schema": 1, "values": []}', "v.json: $.values: must be a list of one object or more"),
    ],
)
def test_hostile_documents_are_one_clear_error(data: bytes, message: str) -> None:
    with pytest.raises(SevbuildError) as caught:
        read_reference_values("v.json", data)
    assert message in caught.value.message


def test_a_thousand_faults_are_not_all_told() -> None:
    document = {"schema": 1, "guest": {"name": "a", "version": "1"}, "inputs": [0] * 1000, "values": []}
    with pytest.raises(FaultsError) as caught:
        read_reference_values("v.json", json.dumps(document).encode())
    assert len(caught.value.faults) == 20


def _edited(path: tuple[str | int, ...], value: Any) -> bytes:
    document = json.loads((ROOT / "guests" / "hello" / "reference-values.json").read_text())
    _at(document, path[:-1])[path[-1]] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("values", 0, "ingredients"), "x", "$.values[0].ingredients: there are no ingredients 'x'"),
        (("values", 0, "algorithm"), "sha256", "$.values[0].algorithm: must be sha384 in mode snp"),
        (("values", 0, "policy"), "0X30000", "$.values[0].policy: must be a hex string"),
        (("values", 0, "digest"), "A" * 96, "$.values[0].digest: must be lower-case"),
        (("values", 0, "releases"), [], "$.values[0].releases: the document is of one release"),
        (("ingredients", 0, "profile"), "x", "$.ingredients[0].profile: there is no profile 'x'"),
        (("ingredients", 0, "inputs", "firmware"), "0" * 64, "no input has this digest"),
        (("ingredients", 0, "sections", 0, "kind"), "cpuid", "section kind 1 is snp-sec-mem"),
        (("ingredients", 0, "mode"), "sev", "$.ingredients[0].seed: mode sev has none"),
        (("profiles", 0, "vmsa_gpa"), "0x1001", "$.profiles[0].vmsa_gpa: must be a multiple of 0x1000"),
        (("profiles", 0, "regions", "snp"), ["sections"], "must begin with the firmware"),
        (("profiles", 0, "initial_state", "fpreg_ymm"), "0x0", "is not a register of the save area"),
        (("releases",), ["1", "1"], "$.releases: must be a list of different versions"),
        (("releases",), ["1"], "$.releases: must end with the version of the guest"),
        (("releases",), 1, "$.releases: must be a list of strings"),
        (("releases",), ["1.0.0"], "$.values[0].releases: missing: the document is of several"),
    ],
)
def test_what_cannot_be_is_named(path: tuple[str | int, ...], value: Any, message: str) -> None:
    with pytest.raises(FaultsError) as caught:
        read_reference_values("v.json", _edited(path, value))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [("a {", "is a stray brace"), ("{root}", "unknown placeholder {root}")],
)
def test_a_template_is_checked(text: str, message: str) -> None:
    kernel = {"sha256": "0" * 64, "initrd_sha256": "0" * 64, "cmdline": text}
    with pytest.raises(FaultsError, match=message) as caught:
        read_reference_values("v.json", _edited(("ingredients", 0, "kernel"), kernel))
    hint = "a placeholder is {name}; write a literal brace twice" if text == "a {" else None
    assert [fault.hint for fault in caught.value.faults if message in fault.message] == [hint]


def test_documents_are_told_apart() -> None:
    assert is_reference_document({"schema": 7, "values": []})
    assert not is_reference_document([])


def test_a_name_stands_once() -> None:
    document = json.loads((ROOT / "guests" / "hello" / "reference-values.json").read_text())
    document["values"] *= 2
    document["profiles"] *= 2
    with pytest.raises(FaultsError) as caught:
        read_reference_values("v.json", json.dumps(document).encode())
    assert "$.values[1]: 'snp/qemu/EPYC-Milan/vcpus1' is listed twice" in caught.value.message
    assert "$.profiles[1]: 'qemu' is listed twice" in caught.value.message


def test_whether_a_document_tells_that_its_order_is_launched() -> None:
    found = typed(document("hardware"))
    qemu = found.values[0]._replace(label="snp/qemu/EPYC/vcpus1")
    igvm = qemu._replace(label="snp/qemu-igvm/EPYC/vcpus1", profile="qemu-igvm", order="canonical")
    assert check_orders("rv.json", found._replace(values=(igvm, qemu)), publishing=True) == []
    own = qemu._replace(label="snp/ours/EPYC/vcpus1", profile="ours", order="canonical")
    (notice,) = check_orders("rv.json", found._replace(values=(igvm, qemu, own, own)), publishing=True)
    assert notice.where == "rv.json: snp/ours/EPYC/vcpus1"
    assert "does not say what replays the list for profile ours" in notice.message
    canonical = found._replace(values=(igvm, qemu._replace(order="canonical")))
    with pytest.raises(SevbuildError, match="profile qemu names no loader"):
        check_orders("rv.json", canonical, publishing=True)
