"""The parts of `diff`, each by itself: pages, command lines, kernels, firmwares, VMSAs, plans, labels."""

from __future__ import annotations

import json
import lzma
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.diagnose.differences.boot_header import HEADER_END, header_fields, parse_setup_header
from sevbuild.diagnose.differences.cmdlines import compare_lines, shown_line
from sevbuild.diagnose.differences.firmwares import build_of, compare_firmwares, firmware_volumes
from sevbuild.diagnose.differences.input_files import input_change
from sevbuild.diagnose.differences.kernels import compare_files, compare_kernels
from sevbuild.diagnose.differences.launches import pair_labels
from sevbuild.diagnose.differences.model import Detail
from sevbuild.diagnose.differences.pages import PageRun, differing_pages, runs_text
from sevbuild.diagnose.differences.plan_document import is_plan_document, read_plan_document
from sevbuild.diagnose.differences.registers import compare_vmsas, features_text, policy_text, signature_said
from sevbuild.diagnose.differences.side_by_side import Trace, causes_of_steps, side_by_side
from sevbuild.diagnose.file_contents import FileContents
from sevbuild.errors import FaultsError, SevbuildError
from sevbuild.image.guid import parse_guid
from sevbuild.image.ovmf import parse_firmware
from sevbuild.vcpu.save_area import build_vmsa
from tests.support.firmware import HASH_TABLE, SECTIONS, make_firmware, standard_firmware
from tests.support.kernels import BZIMAGE, CPIO, boot_image
from tests.support.launches import plan_json
from tests.support.pe import make_uki

PAGE = 4096


@given(st.lists(st.booleans(), min_size=1, max_size=600), st.integers(0, 3), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_pages_that_differ_are_counted_and_run_together(which: list[bool], more: int, tail: int) -> None:
    old = bytes(PAGE * len(which)) + bytes(tail)
    new = b"".join(b"x".ljust(PAGE, b"\0") if differs else bytes(PAGE) for differs in which) + bytes(tail)
    found = differing_pages(old, new + bytes(more * PAGE))
    assert (found.differ, found.of) == (sum(which), len(which) + bool(tail))
    pages = [at // PAGE for run in found.runs for at in range(run.start, run.end, PAGE)]
    assert pages == [number for number, differs in enumerate(which) if differs]
    assert all(first.end < second.start for first, second in pairwise(found.runs))


def test_pages_are_compared_after_what_one_has_before_them() -> None:
    old, new = b"a" * PAGE + b"b" * PAGE, b"b" * PAGE
    assert differing_pages(old, new, (PAGE, 0)).differ == 0
    assert differing_pages(old, new).differ == 1


def test_runs_are_told_in_part() -> None:
    runs = [PageRun(number * 0x4000, number * 0x4000 + 0x2000) for number in range(10)]
    text = runs_text(runs, 0x100000)
    assert text.startswith("0x100000-0x101fff, 0x104000-")
    assert text.endswith(" and 4 more")
    assert runs_text([PageRun(0, PAGE)], 0, 3) == "0x0 and 2 more"


def test_many_runs_are_counted_and_not_kept() -> None:
    new = b"".join(bytes([number & 1]) * PAGE for number in range(3000))
    found = differing_pages(bytes(PAGE * 3000), new)
    assert (found.differ, len(found.runs)) == (1500, 1000)
    assert runs_text(found.runs, 0, found.differ).endswith(" and 1492 more")


@pytest.mark.parametrize(
    ("old", "new", "title", "details"),
    [
        ("a b", "a b\n", "a newline at the end added", [("white space at the end", "none", "\\n")]),
        ("a b ", "a b", "a space at the end removed", [("white space at the end", "␣", "none")]),
        ("a\r\n", "a\n", "other white space at the end", [("white space at the end", "\\r\\n", "\\n")]),
        ("a b", "a  b", "white space alone, before b", [("white space before b", "␣", "␣␣")]),
        (
            " a b",
            "a\tb",
            "white space alone",
            [("white space before a", "␣", "none"), ("white space before b", "␣", "\\t")],
        ),
        ("a\0", "a", "a NUL at the end removed", [("white space at the end", "\\0", "none")]),
        ("a b c", "c a b", "the same words in another order", [("word c", "place 3", "place 1")]),
        ("n=1 x", "n=2 x", "1 word changed", [("word 1", "n=1", "n=2")]),
        ("a", "a b c", "2 words added", [("word 2", None, "b"), ("word 3", None, "c")]),
        ("a b c", "b", "2 words removed", [("word 1", "a", None), ("word 3", "c", None)]),
        ("", "a", "1 word added", [("word 1", None, "a")]),
        ('x="a b"', 'x="a  b"', "1 word changed", [("word 1", 'x="a b"', 'x="a  b"')]),
        (
            "a n=1 b",
            "b n=2 a",
            "1 word changed",
            [("word b", "place 3", "place 1"), ("word 2", "n=1", "n=2")],
        ),
    ],
)
def test_command_lines_word_by_word(
    old: str, new: str, title: str, details: list[tuple[str, str | None, str | None]]
) -> None:
    found = compare_lines(old, new)
    assert found.title == title
    assert [detail[:3] for detail in found.details] == details


@given(st.text(alphabet='ab= \t\n\0"', max_size=24), st.text(alphabet='ab= \t\n\0"', max_size=24))
@settings(max_examples=400, deadline=None)
def test_lines_that_differ_are_never_called_alike(old: str, new: str) -> None:
    if old != new:
        found = compare_lines(old, new)
        assert found.details
        assert found.title
    shown = shown_line(old)
    assert shown is not None
    assert not set(shown) & set("\t\n\0")


def test_long_lines_are_compared_in_time() -> None:
    old = " ".join(f"a{number}" for number in range(10_000))
    new = " ".join(f"b{number}" for number in range(10_000))
    found = compare_lines(old, new)
    assert found.title == "10000 words added, 10000 words removed"
    assert found.details[-1].what == "and 19800 more"
    assert shown_line(None) is None
    turned = compare_lines("a " * 30_000 + "b", "b " + "a " * 30_000)
    assert turned.title == "the same words in another order"


def test_the_setup_header_is_read_by_its_length() -> None:
    fields = header_fields()
    assert all(one.offset + one.size <= other.offset for one, other in pairwise(fields))
    whole = parse_setup_header(boot_image(patched={0x226: 1}))
    assert whole is not None
    assert (whole.version, whole.setup_end, whole.values["ext_loader_ver"]) == (
        "6.1.0-18-amd64 (debian)",
        4096,
        1,
    )
    short = parse_setup_header(boot_image(patched={0x201: 0x20, 0x1F1: 0}))
    assert short is not None
    assert short.end == 0x222
    assert "cmd_line_ptr" not in short.values
    assert short.setup_end == 5 * 512
    assert parse_setup_header(BZIMAGE) is None
    assert parse_setup_header(b"") is None
    nameless = parse_setup_header(boot_image(patched={0x20F: 0xFF}))
    assert nameless is not None
    assert nameless.version is None
    assert parse_setup_header(boot_image("\0")) is not None


@given(st.binary(max_size=700), st.dictionaries(st.integers(0, 0x3FFF), st.integers(0, 255), max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_two_kernels_can_be_compared(noise: bytes, patched: dict[int, int]) -> None:
    base, other = boot_image(), boot_image(patched=patched)
    for candidate in (other, noise, boot_image()[:0x100] + noise):
        if candidate != base:
            assert compare_kernels(base, candidate).title
            assert compare_kernels(candidate, base).title


def test_a_header_that_differs_alone_is_told_from_other_code() -> None:
    base = boot_image()
    alone = compare_kernels(base, boot_image(patched={0x210: 0xB0, 0x228: 1}))
    assert alone.title.endswith("type_of_loader (0x210), cmd_line_ptr (0x228), as a boot loader patches it")
    assert [detail.note for detail in alone.details] == ["boot loaders write it"] * 2
    read = compare_kernels(base, boot_image(patched={0x260: 1}))
    assert read.title == "1 field of the setup header: init_size (0x260)"
    both = compare_kernels(base, boot_image(patched={0x210: 0xB0, 0x3000: 1}))
    assert both.title == "another build or file of the same version"
    between = compare_kernels(base, boot_image(patched={HEADER_END - 1: 1}))
    assert between.title == "another build or file of the same version"
    longer = compare_kernels(base, base + b"\0")
    assert longer.details == (Detail("size", "16384 bytes", "16385 bytes"),)


def test_images_are_compared_by_their_parts() -> None:
    parts = [(".linux", boot_image()), (".initrd", CPIO), (".cmdline", b"quiet")]
    image = make_uki(parts)
    line = compare_kernels(image, make_uki([*parts[:2], (".cmdline", b"quiet  x")]))
    assert line.title == "another .cmdline in the image"
    assert line.details[1] == Detail(".cmdline: word 2", None, "x")
    several = make_uki([(".linux", boot_image("6.2 x")), (".initrd", CPIO + b"0"), parts[2]])
    assert compare_kernels(image, several).title == "another .linux, .initrd in the image"
    without = compare_kernels(image, make_uki(parts[:2]))
    assert without.details == (Detail(".cmdline", "5 bytes", None),)
    other = compare_kernels(image, make_uki([*parts, (".osrel", b"ID=x")]))
    assert other.title == "other sections than .linux, .initrd and .cmdline"
    profiles = make_uki([*parts, (".profile", b"x")])
    assert compare_kernels(profiles, image).title == "other bytes"
    assert compare_kernels(image, boot_image()).title == "files of another kind"


def test_initrds_are_told_by_kind_and_size(tmp_path: Path) -> None:
    assert compare_files(CPIO, b"").title == "empty on one side"
    assert compare_files(CPIO, CPIO[:-1] + b"x").title == "other bytes of the same size"
    assert compare_files(CPIO, CPIO + b"x").title == "another size"
    unknown = compare_files(CPIO, b"\1\2\3")
    assert unknown.title == "another kind: a cpio archive -> a file of no known kind"
    assert input_change("initrd", None, [CPIO]) is None
    more = input_change("initrd", [CPIO], [CPIO, CPIO])
    assert more is not None
    assert more.title == "1 parts -> 2"
    (tmp_path / "part").write_bytes(CPIO + b"x")
    other = input_change("initrd", [CPIO, CPIO], [CPIO, FileContents([str(tmp_path / "part")])])
    assert other is not None
    assert (other.title, other.details[1].what) == ("other bytes of a part", "part 1")
    assert other.details[2].what == "part 1: size"


def _firmware_change(old: bytes, new: bytes) -> tuple[str, list[str]]:
    found = compare_firmwares(parse_firmware(old), parse_firmware(new))
    return found.title, [detail.what for detail in found.details]


def test_firmwares_are_compared_by_their_tables() -> None:
    base = standard_firmware()
    title, details = _firmware_change(base, standard_firmware(sections=[*SECTIONS, (0x820000, 0x1000, 4)]))
    assert title == "other SEV metadata sections"
    assert "section svsm-caa" in details
    title, details = _firmware_change(
        base, standard_firmware(sections=[(0x800000, 0x3000, 1), *SECTIONS[1:]])
    )
    assert (title, details[0]) == ("other SEV metadata sections", "section snp-sec-mem")
    title, details = _firmware_change(base, make_firmware(fill=b"OVMF", hash_table=HASH_TABLE))
    assert details[0] == "SEV metadata"
    title, details = _firmware_change(
        base, standard_firmware(extra_entries=[("a" * 8 + "-0000-0000-0000-" + "b" * 12, b"x" * 40)])
    )
    assert title.startswith("other footer table entry aaaaaaaa-")
    assert (
        _firmware_change(base, bytes(PAGE) + base)[0] == "the second is the other with 4096 bytes before it"
    )
    assert _firmware_change(bytes(PAGE) + base, base)[0] == "the first is the other with 4096 bytes before it"
    assert (
        _firmware_change(base, bytes(PAGE) + base[:-5] + b"\1" + base[-4:])[0]
        == "another build, of another size"
    )
    data = input_change("svsm", [b"no image"], [b"another"])
    assert data is not None
    assert data.title == "another size"


def _volume(size: int, guid: str) -> bytes:
    return (bytes(16) + parse_guid(guid) + size.to_bytes(8, "little") + b"_FVH").ljust(size, b"\xff")


def test_pages_are_told_by_the_volume_they_lie_in() -> None:
    store = _volume(0x2000, "fff12b8d-7696-4c8b-a985-2747075b4f50")
    main = _volume(0x3000, "8c8ce578-8a3d-4f1c-9935-896185c32dd3")
    image = store + main + bytes(0x1000) + _volume(0x1000, "8c8ce578-8a3d-4f1c-9935-896185c32dd3")
    assert [(found.start, found.end) for found in firmware_volumes(image)] == [
        (0, 0x2000),
        (0x2000, 0x5000),
        (0x6000, 0x7000),
    ]
    other = bytearray(image)
    for at in (0x100, 0x1100, 0x4000, 0x5000, 0x6F00):
        other[at] ^= 0x55
    found = compare_firmwares(parse_firmware(image), parse_firmware(bytes(other)))
    assert [(detail.what, detail.note) for detail in found.details] == [
        ("5 of 7 pages", ""),
        ("in the variable store", "0xffff9000-0xffffafff"),
        ("in the volume at 0x2000", "0xffffd000"),
        ("in the volume with the reset vector and the tables", "0xfffff000"),
        ("outside of any volume", "0xffffe000"),
    ]
    assert firmware_volumes(b"_FVH" * (1 << 20)) == []
    assert len(build_of(_wide("2026.01-1") * 20_000)) == 1
    assert firmware_volumes(bytes(0x28) + b"_FVH") == []


def _packed(volume: bytes) -> bytes:
    stream = bytearray(lzma.compress(volume, lzma.FORMAT_ALONE, preset=1))
    stream[5:13] = len(volume).to_bytes(8, "little")
    guid = parse_guid("ee4e5898-3914-4259-9d6e-dc7bd79403cf")
    return (24 + len(stream)).to_bytes(3, "little") + b"\2" + guid + b"\x18\0\1\0" + bytes(stream)


def _wide(*texts: str) -> bytes:
    return b"\x90\x90".join(text.encode("utf-16-le") + b"\0\0" for text in texts)


def test_the_build_is_read_out_of_compressed_volumes() -> None:
    said = _wide(
        "2026.08+ds-2", "Debian distribution of EDK II", "edk2-stable202408", "x2025.01-1", "EDK II", "2024"
    )
    image = standard_firmware(size=0x10000, fill=_packed(bytes(99) + said).ljust(0x8000, b"\0"))
    assert build_of(image) == ("2026.08+ds-2", "edk2-stable202408", "Debian distribution of EDK II")
    other = standard_firmware(size=0x10000, fill=_packed(bytes(99) + _wide("2025.02-9")).ljust(0x8000, b"\0"))
    assert _firmware_change(image, other)[0] == "another build: 2026.08+ds-2 -> 2025.02-9"
    assert build_of(bytes(PAGE)) == ()
    assert build_of(_wide(*(f"20{number}.01-1" for number in range(10, 40)))) == tuple(
        f"20{number}.01-1" for number in range(10, 18)
    )


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_a_build_across_two_windows_is_said_once(cut: int) -> None:
    text = _wide("Debian distribution of EDK II", "edk2-stable202408-9")
    image = _packed(bytes((1 << 20) - cut) + text + bytes(1000))
    assert build_of(image + bytes(-len(image) % PAGE)) == (
        "edk2-stable202408-9",
        "Debian distribution of EDK II",
    )


BASE = {"rip": 0xFFF0, "efer": 0x1000, "rflags": 2, "rdx": 0x800F12, "sev_features": 1}


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ({"rdx": 0xA00F11}, "another CPU signature in rdx"),
        ({"rdx": 0x600}, "1 field: rdx"),
        ({"mxcsr": 0x1F80, "x87_fcw": 0x37F}, "another FPU state: 2 fields: mxcsr, x87_fcw"),
        ({"sev_features": 0x21}, "other SEV_FEATURES"),
        ({f"r{number}": 1 for number in range(8, 15)}, "7 fields: r8, r9, r10, r11 and 3 more"),
    ],
)
def test_vmsas_are_compared_by_register(values: dict[str, int], title: str) -> None:
    assert compare_vmsas(build_vmsa(BASE), build_vmsa({**BASE, **values})).title == title


def test_registers_are_said_in_words() -> None:
    page = bytearray(build_vmsa(BASE))
    page[0x7F0] = 7
    found = compare_vmsas(build_vmsa(BASE), bytes(page))
    assert found.details == (Detail("reserved 0x7f0", "0", "07"),)
    assert features_text(None) is None
    assert features_text(0) == "0x0 (no bit)"
    assert policy_text(0x5, snp=False) == "0x5 (nodbg, es)"
    assert policy_text(0x20000, snp=True) == "0x20000 (no named bit)"
    assert signature_said(0x800F12).endswith(" and 3 more)")
    assert signature_said(1) == "0x00000001"


@pytest.mark.parametrize("mode", ["sev", "sev-es", "snp"])
def test_a_plan_is_read_back_as_it_was_written(mode: str) -> None:
    data = plan_json(mode)
    assert is_plan_document("plan.json", data)
    (plan,) = read_plan_document("plan.json", data)
    written = json.loads(data)
    assert (plan.label, plan.digest.hex()) == (written["label"], written["updates"][-1]["launch_digest"])
    assert [update.origin for update in plan.plan.updates] == [
        entry["origin"] for entry in written["updates"]
    ]
    assert len(plan.plan.vmsas) == (mode != "sev")
    launches = side_by_side((plan.label, plan.label), *(Trace(plan.plan, plan.digests, recorded=True),) * 2)
    assert launches.parts_at is None
    assert all(step.is_equal for step in launches.steps)
    assert causes_of_steps(launches) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "tdx"}, "$.plans[0].mode: unknown value 'tdx'"),
        ({"label": "x"}, "$.plans[0].label: 'x' is not the label of a target"),
        ({"updates": []}, "$.plans[0].updates: must be a list of one object or more"),
        ({"policy": "x"}, "$.plans[0].policy: must be a hex string"),
        ({"more": 1}, "$.plans[0].more: unknown key"),
        ({"seed": "00"}, "$.plans[0].seed: must be 96 hexadecimal digits"),
        ({"algorithm": "sha256"}, "$.plans[0].algorithm: unknown value 'sha256'"),
    ],
)
def test_a_plan_at_fault_is_refused(change: dict[str, object], message: str) -> None:
    raw = {**json.loads(plan_json("snp")), **change}
    with pytest.raises(FaultsError, match=message.replace("$", r"\$").replace("[", r"\[")):
        read_plan_document("plan.json", json.dumps(raw).encode())


def test_updates_of_a_plan_are_checked() -> None:
    raw = json.loads(plan_json("snp"))
    for key, value in (("index", 7), ("page_type", "x"), ("launch_digest", "00"), ("gpa", "1")):
        bent = json.loads(json.dumps(raw))
        bent["updates"][1][key] = value
        with pytest.raises(FaultsError, match=rf"updates\[1\]\.{key}: "):
            read_plan_document("plan.json", json.dumps(bent).encode())
    with pytest.raises(SevbuildError, match="two launch plans have one label"):
        read_plan_document("plan.json", json.dumps([raw, raw]).encode())
    assert not is_plan_document("x", b"{}")
    assert not is_plan_document("x", b'{"updates": []}')
    assert not is_plan_document("x", b'["updates"]')


def test_what_is_launched_elsewhere_or_alone_is_said() -> None:
    (plan,) = read_plan_document("plan.json", plan_json("snp"))
    first, second, *others = plan.plan.regions
    digests = [bytes([number]) * 48 for number in range(len(plan.digests))]
    swapped = plan.plan._replace(regions=(second, first, *others))
    old = Trace(plan.plan, digests, recorded=True)
    moved = causes_of_steps(side_by_side(("a", "b"), old, Trace(swapped, digests[::-1], recorded=True)))
    assert [(cause.title, cause.old, cause.new) for cause in moved] == [
        (f"{first.origin} is launched in another place", "step 0", "step 1")
    ] or moved[0].title.endswith("is launched in another place")
    fewer = plan.plan._replace(regions=(first, *others))
    launches = side_by_side(("a", "b"), old, Trace(fewer, digests[:-1][::-1], recorded=True))
    (alone,) = causes_of_steps(launches)
    assert (alone.title, alone.new) == (f"{second.origin} is launched in the first alone", None)
    (alone,) = causes_of_steps(side_by_side(("a", "b"), Trace(fewer, digests[:-1], recorded=True), old))
    assert (alone.title, alone.old) == (f"{second.origin} is launched in the second alone", None)
    elsewhere = second._replace(gpa=0x7000, vmpl_permissions=(1, 1, 1))
    changed = plan.plan._replace(regions=(first, elsewhere, *others))
    (cause,) = causes_of_steps(side_by_side(("a", "b"), old, Trace(changed, digests[::-1], recorded=True)))
    assert cause.title == f"GPA and VMPL permissions of {second.origin}"
    assert [detail.what for detail in cause.details] == ["VMPL permissions", "GPA"]


@pytest.mark.parametrize(
    ("old", "new", "pairs"),
    [
        ("s/q/A/vcpus1", "s/q/A/vcpus1", "0-0"),
        ("s/q/A/vcpus1", "s/q/A/vcpus2", "0-0"),
        ("s/q/A/vcpus1", "e/p/B/vcpus2/x", "0-0"),
        ("s/q/A/vcpus1 s/q/A/vcpus2", "s/q/A/vcpus2 s/q/A/vcpus4", "1-0"),
        ("s/q/A/vcpus1 s/q/B/vcpus1", "s/q/A/vcpus1 s/q/C/vcpus1", "0-0 1-1"),
        ("s/q/A/vcpus1 s/q/B/vcpus1", "s/q/B/vcpus1 s/q/A/vcpus1", "0-1 1-0"),
        ("s/q/A/vcpus1 s/q/A/vcpus2", "s/q/B/vcpus1 s/q/B/vcpus2", "0-0 1-1"),
        ("s/q/A/vcpus1 e/q/A/vcpus1", "s/q/A/vcpus1", "0-0"),
        ("", "s/q/A/vcpus1", ""),
    ],
)
def test_targets_are_paired_by_their_labels(old: str, new: str, pairs: str) -> None:
    olds, news = old.split(), new.split()
    wanted = [tuple(map(int, pair.split("-"))) for pair in pairs.split()]
    assert pair_labels(olds, news) == [(olds[one], news[other]) for one, other in wanted]
