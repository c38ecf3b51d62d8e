"""`plan --format html` and `svg`: what they show is the plan, all of it, and each launch once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.guest.guest import load_guest
from sevbuild.guest.pictured import file_picture, guest_picture
from sevbuild.guest.registers import read_registers
from sevbuild.manifest.vcpu_keys import cpu_named
from sevbuild.picture.launches import Register
from sevbuild.picture.plan_page import PlanPicture
from sevbuild.vcpu.save_area import build_vmsa
from tests.picture.support import NASTY, SVG, Parsed, boxes_of, root_of
from tests.support.cli import run
from tests.support.firmware import make_firmware
from tests.support.guests import guest_of, write_manifest
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello" / "guest.toml"
FLEET = ROOT / "guests" / "fleet" / "guest.toml"
NATIVE = ROOT / "tests" / "data" / "igvm" / "native-contexts-last.igvm"
IGVM = ROOT / "tests" / "data" / "igvm" / "snp-and-sev-es.igvm"
SECTIONS = [(0x800000, 0x9000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]


def _inputs(folder: Path) -> dict[str, dict[str, object]]:
    """Write the inputs of a guest with a kernel, and return the tables that name them."""
    image = make_firmware(size=0x8000, sections=SECTIONS, hash_table=(0x810C00, 0x400))
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "kernel").write_bytes(b"kernel" * 1000)
    return {"firmware": {"path": "OVMF.fd"}, "kernel": {"path": "kernel", "cmdline": "a <b> cpus={vcpus}"}}


def _picture(folder: Path, **tables: Any) -> PlanPicture:
    merged = {name: table for name, table in {**_inputs(folder), **tables}.items() if table is not None}
    guest = guest_of(folder, **merged)
    return guest_picture(guest, guest.targets)


def _html(*words: object) -> Parsed:
    result = run("plan", *words, "-q", "-f", "html")
    assert (result.status, result.err) == (0, "")
    return Parsed(result.out)


def _registers(picture: PlanPicture, vmsa: int) -> dict[str, Register]:
    return {register.name: register for register in picture.launches[0].save_areas[vmsa].registers}


@pytest.mark.parametrize("source", [HELLO, IGVM])
def test_a_page_shows_every_step_of_the_plan(source: Path) -> None:
    page = _html(source)
    plans = json.loads(run("plan", "-q", source, "-f", "json").out)
    for plan in plans if isinstance(plans, list) else [plans]:
        assert plan["label"] in page.text
        for update in plan["updates"]:
            for key in ("origin", "page_type", "gpa", "length", "launch_digest"):
                assert update[key] in page.text
            assert update["contents_digest"] is None or update["contents_digest"] in page.text


def test_identifiers_are_distinct_and_links_lead_to_them() -> None:
    for source in (HELLO, FLEET, IGVM):
        page = _html(source)
        assert len(page.ids()) == len(set(page.ids()))
        assert page.targets() <= set(page.ids())


def test_each_distinct_launch_is_shown_once() -> None:
    """On the clouds no register depends on the CPU, and fewer vCPUs are the first steps of more of them."""
    guest = load_guest(str(FLEET))
    picture = guest_picture(guest, guest.targets)
    assert len(picture.targets) == 960
    assert list(map(len, picture.by_launch())) == [64, 128, 128, 320, 320]
    measured = {item.label: item.digest.hex() for item in guest.measure()}
    for target in picture.targets:
        launch = picture.launches[target.launch]
        assert launch.updates[target.steps - 1].digest == target.digest == measured[target.label]
        assert (
            len(guest.plan(next(t for t in guest.targets if t.label == target.label)).updates) == target.steps
        )


def test_a_fleet_is_a_small_file() -> None:
    text = run("plan", "-q", FLEET, "-f", "html").out
    assert len(text.encode()) < 600_000
    assert text.count("<svg") == 2  # EC2 launches the same regions in another order, so they lie alike
    assert text.count("data-label=") == 960


@pytest.mark.parametrize("mode", ["sev", "sev-es", "snp"])
def test_every_mode_has_a_map(mode: str, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, **_inputs(tmp_path), launch={"mode": mode}, vcpu={"count": [1, 4]})
    result = run("plan", "-q", manifest, "-f", "svg")
    assert (result.status, result.err) == (0, "")
    assert len(boxes_of(result.out, "o-firmware")) == 1
    assert len(boxes_of(result.out, "o-kernel-hashes")) == 1
    root_of(result.out)


def test_a_map_of_many_launches_names_a_few(tmp_path: Path) -> None:
    """Each command line is a launch of its own, and all of them lie alike."""
    manifest = write_manifest(tmp_path, **_inputs(tmp_path), vcpu={"count": [1, 2, 3, 4, 5, 6]})
    svg = run("plan", "-q", manifest, "-f", "svg").out
    titles = [title.text or "" for title in root_of(svg).iter(f"{SVG}title")]
    labels = ", ".join(f"snp/qemu/EPYC-v4/vcpus{count}" for count in (1, 2, 3))
    assert titles[0] == f"Memory map of test 1: {labels}, and 3 more"
    assert "6 VMSAs" in "".join(root_of(svg).itertext())
    page = run("plan", "-q", manifest, "-f", "html").out
    assert page.count("<svg") == 1
    assert page.count("which has more VMSAs") == 5


def test_registers_say_what_gave_them_their_value(tmp_path: Path) -> None:
    picture = _picture(tmp_path, vcpu={"count": 2, "model": "EPYC-Milan"}, launch={"guest-features": 0x21})
    assert [area.title for area in picture.launches[0].save_areas] == ["VMSA 0", "VMSA 1"]
    first, other = _registers(picture, 0), _registers(picture, 1)
    assert first["rdx"][1:3] == ("0xa00f11", "CPU EPYC-Milan")
    assert first["sev_features"][1:] == ("0x21", "guest features: manifest", "")
    assert first["efer"].origin == "profile qemu"
    assert first["efer"].source.startswith("Linux arch/x86/kvm/svm/svm.c: EFER.SVME")
    assert first["mxcsr"].source.startswith("Linux 6.9")
    assert first["cs"].value == "selector 0xf000, attributes 0x9b, limit 0xffff, base 0xffff0000"
    assert first["cs"].origin == "profile qemu; base: entry: profile qemu"
    assert other["rip"][1:3] == ("0xb004", "entry: the reset block of the firmware")
    assert other["rip"].source.startswith("QEMU 10.2 target/i386/sev.c: sev_es_set_reset_vector")
    # What is given as zero is shown, what nobody named is not.
    assert _registers(_picture(tmp_path, launch={"mode": "sev-es"}), 0)["mxcsr"].value == "0x0"
    assert "rax" not in first


def test_features_of_a_profile_have_its_source(tmp_path: Path) -> None:
    register = _registers(_picture(tmp_path, launch={"profile": "qemu-snp-debugswap"}), 0)["sev_features"]
    assert register[1:3] == ("0x21", "guest features: profile qemu-snp-debugswap")
    assert register.source


def test_what_a_role_says_goes_before_what_all_vcpus_have(tmp_path: Path) -> None:
    picture = _picture(tmp_path, kernel=None, vcpu={"count": 2}, launch={"profile": "ec2"})
    first, other = _registers(picture, 0), _registers(picture, 1)
    assert "attributes 0x9a" in first["cs"].value
    assert "CS of the boot processor only" in first["cs"].source
    assert "CS of the boot processor only" not in other["cs"].source


def test_parts_that_no_profile_gives_are_zero(tmp_path: Path) -> None:
    text = (ROOT / "sevbuild" / "profiles" / "qemu.toml").read_text()
    given = "idtr = { selector = 0, attributes = 0, limit = 0xffff, base = 0 }"
    assert given in text
    (tmp_path / "mine.toml").write_text(
        text.replace(given, "idtr = { limit = 0xffff }").replace('name = "qemu"', 'name = "mine"')
    )
    register = _registers(_picture(tmp_path, launch={"profile": "./mine.toml"}), 0)["idtr"]
    assert register.value == "selector 0x0, attributes 0x0, limit 0xffff, base 0x0"
    assert register.origin == "zero where nothing is said; limit: profile mine"


def test_bytes_that_no_field_has_are_shown() -> None:
    page = bytearray(build_vmsa({"fpreg_x87": b"\1" * 80, "rip": 2}))
    page[0x1C0:0x1C2] = b"\xab\xcd"
    found = {register.name: register for register in read_registers(bytes(page), "a file")}
    assert list(found) == ["rip", "fpreg_x87", "reserved 0x1c0"]
    assert found["fpreg_x87"].value == "01" * 80
    assert found["reserved 0x1c0"][1:] == ("abcd", "a file", "")


def test_a_ready_file_in_a_manifest_has_its_own_registers(tmp_path: Path) -> None:
    manifest = write_manifest(
        tmp_path,
        launch={"profile": "qemu-igvm"},
        igvm={"path": str(NATIVE)},
        vcpu={"count": 2},
    )
    page = _html(manifest)
    assert "the IGVM file: vp context 1" in page.text


def test_an_igvm_file_says_whose_registers_these_are() -> None:
    file = ForeignFile(str(NATIVE))
    more = ForeignLaunch(["qemu"], vcpus=4, cpu=cpu_named("EPYC-v4"))
    picture = file_picture(file, file.launches(more))
    assert picture.inputs[0][0].startswith("IGVM file native-contexts-last.igvm, ")
    areas = picture.launches[0].save_areas
    assert [(area.title, {register.origin for register in area.registers}) for area in areas] == [
        ("VMSA 0", {"the IGVM file: vp context 0"}),
        ("VMSA 1", {"the IGVM file: vp context 1"}),
        ("VMSAs 2 to 3", {"the loader: reset state 2"}),
    ]


def test_a_file_that_is_built_has_the_registers_of_its_profile(tmp_path: Path) -> None:
    tables: dict[str, dict[str, object]] = {
        "launch": {"profile": "qemu-igvm"},
        "igvm": {"parameters": False},
        "vcpu": {"count": 2},
    }
    for register in _registers(_picture(tmp_path, **tables), 1).values():
        assert register.origin.startswith(("profile qemu-igvm", "CPU", "guest features", "entry"))


def test_command_lines_say_whose_they_are(tmp_path: Path) -> None:
    picture = _picture(tmp_path, vcpu={"count": [1, 2], "model": ["EPYC-v4", "EPYC-Milan"]})
    assert picture.cmdlines == (
        ("a <b> cpus=1", "snp/qemu/EPYC-v4/vcpus1 and 1 more target"),
        ("a <b> cpus=2", "snp/qemu/EPYC-v4/vcpus2 and 1 more target"),
    )
    assert len(picture.launches) == 4
    (cmdline,) = _picture(tmp_path).cmdlines
    assert cmdline == ("a <b> cpus=1", "")


def test_names_of_others_are_text(tmp_path: Path) -> None:
    tables = _inputs(tmp_path)
    name = NASTY.replace("/", "-")
    (tmp_path / name).write_bytes((tmp_path / "OVMF.fd").read_bytes())
    tables["firmware"]["path"] = name
    tables["kernel"]["cmdline"] = NASTY.replace("\x1b", "")
    manifest = write_manifest(tmp_path, **tables, guest={"version": NASTY})
    page = _html(manifest)
    assert "onload" not in {name for _, attributes in page.elements for name in attributes}
    assert page.raw["script"] == Parsed(run("plan", "-q", HELLO, "-f", "html").out).raw["script"]
    assert page.text.count("<script>alert(1)<-script>") == 1
    assert page.text.count("<script>alert(1)</script>") >= 2
    assert "\x1b" not in page.text
    root_of(run("plan", "-q", manifest, "-f", "svg").out)


def test_a_seed_is_the_first_row(tmp_path: Path) -> None:
    seed = "ab" * 48
    metadata = {"reset": 0x80B004, "sections": [{"gpa": 0x800000, "size": 0x9000, "kind": "snp-sec-mem"}]}
    manifest = write_manifest(tmp_path, firmware={"seed": seed, "metadata": metadata})
    page = _html(manifest)
    assert seed in page.text
    assert "the seed" in page.text


def test_output_goes_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for fmt in ("table", "json", "html", "svg"):
        printed = run("plan", "-q", HELLO, "-f", fmt)
        assert printed.status == 0
        result = run("plan", HELLO, "-f", fmt, "-o", f"plan.{fmt}")
        assert (result.status, result.out, result.err) == (0, "", f"wrote plan.{fmt}\n")
        assert (tmp_path / f"plan.{fmt}").read_text() == printed.out
        assert run("plan", "-q", HELLO, "-f", fmt, "-o", "-").out == printed.out


@pytest.mark.parametrize("fmt", ["html", "table"])
def test_no_input_is_replaced_unasked(fmt: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_manifest(tmp_path, **_inputs(tmp_path))
    (tmp_path / "guest.igvm").write_bytes(IGVM.read_bytes())
    (tmp_path / "name").write_text("v2")
    for words in (
        ["guest.toml", "-o", "OVMF.fd"],
        ["guest.toml", "-o", "guest.toml"],
        ["guest.toml", "-o", "name", "--set", "guest.version=@name"],
        ["guest.igvm", "-o", "guest.igvm"],
    ):
        result = run("plan", "-q", *words, "-f", fmt)
        assert result.status == 2
        assert "it is not replaced" in result.err
    assert run("plan", "-q", "guest.toml", "-f", fmt, "-o", "OVMF.fd", "--force").status == 0


def test_options_without_effect_are_refused(tmp_path: Path) -> None:
    for words, said in (
        (["--seed", "-f", "html"], "--seed prints digests alone"),
        (["--seed", "-o", tmp_path / "x"], "--seed prints digests alone"),
        (["-f", "html", "--force"], "--force replaces a file, but none is written"),
        (["-f", "png"], "one of table, json, html, svg"),
    ):
        result = run("plan", HELLO, *words)
        assert result.status == 2
        assert said in result.err


def test_a_page_is_the_same_each_time(tmp_path: Path) -> None:
    """Another process, with other hashes of strings, in another place."""
    words = [sys.executable, "-m", "sevbuild", "plan", "-q", str(FLEET), "-f", "html"]
    pages = {
        subprocess.run(
            words, cwd=tmp_path, check=True, capture_output=True, env={"PYTHONHASHSEED": seed, "PATH": ""}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(pages) == 1


def test_no_picture_is_loaded_unless_one_is_asked_for() -> None:
    code = (
        "import sys; from sevbuild.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.startswith('sevbuild.picture')), file=sys.stderr)"
    )
    for words, loaded in ((["measure"], False), (["plan"], False), (["plan", "-f", "svg"], True)):
        result = subprocess.run(
            [sys.executable, "-c", code, *words, "-q", str(HELLO)], check=True, capture_output=True, text=True
        )
        assert (result.stderr != "[]\n") == loaded
