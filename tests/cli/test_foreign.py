"""The verbs on IGVM files that somebody else made."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest

from sevbuild.identity.id_block import IdBlock
from sevbuild.identity.igvm_block import id_block_header
from sevbuild.igvm.headers import (
    GuestPolicy,
    Header,
    PageData,
    PageFlags,
    ParameterArea,
    ParameterInsert,
    PlatformType,
    RequiredMemory,
    SupportedPlatform,
    UnknownHeader,
    VpContext,
)
from sevbuild.igvm.loaders import LOADERS
from sevbuild.vcpu.save_area import build_vmsa
from tests.support.cli import run
from tests.support.id_blocks import signed
from tests.support.igvm import BSP, ID_BLOCK, SNP, VMSA, write_file
from tests.support.shared import shared_file

PAGES: list[Header] = [PageData(0x1000 * number, 1, bytes([number]) * 4096) for number in range(32, 40)]
POLICY = GuestPolicy(0xB0000, 1)


def _file(folder: Path, *headers: Header, name: str = "guest.toml") -> Path:
    """Write an IGVM file; its name says nothing of what it is."""
    return write_file(folder, *headers, name=name)


@pytest.fixture
def portable(tmp_path: Path) -> Path:
    return _file(tmp_path, SNP, POLICY, *PAGES, BSP)


def test_one_loader_prints_its_bare_digest(portable: Path) -> None:
    result = run("measure", portable, "--loader", "qemu")
    assert (result.status, result.err) == (0, "")
    assert len(result.out) == 97
    assert run("measure", portable, "--loader", "qemu", "--expect", result.out.strip()).status == 0
    assert run("measure", portable, "--loader", "qemu", "--expect", "0" * 96).status == 1
    encoded = run("measure", portable, "--loader", "qemu", "-f", "base64").out
    assert encoded == b64encode(bytes.fromhex(result.out)).decode() + "\n"


def test_all_loaders_print_a_line_each(portable: Path, tmp_path: Path) -> None:
    result = run("measure", portable)
    assert result.out == run("measure", portable, "--loader", "all").out
    lines = [line.split("  ") for line in result.out.splitlines()]
    assert [label for _, label in lines] == [f"snp/{name}/-/vcpus1" for name in LOADERS]
    assert len({digest for digest, _ in lines}) == 1
    wanted = tmp_path / "wanted"
    for fmt in ("hex", "json"):
        wanted.write_text(run("measure", portable, "-f", fmt).out)
        assert run("measure", portable, "--expect", wanted).status == 0
    failed = run("measure", portable, "--expect", lines[0][0])
    assert failed.status == 2
    assert "--loader" in failed.err
    label = "snp/qemu/-/vcpus1"
    assert run("measure", portable, "--target", label).out == lines[0][0] + "\n"
    missing = run("measure", portable, "--target", "snp/qemu/-/vcpus2")
    assert missing.status == 2
    assert "no target matches" in missing.err


def test_each_format_of_measure_has_the_digest(portable: Path) -> None:
    document = json.loads(run("measure", portable, "-f", "json", "--loader", "qemu").out)
    (value,) = document["values"]
    digest = run("measure", portable, "--loader", "qemu").out.strip()
    assert document["guest"] == {"name": "guest.toml", "version": None}
    assert [entry["role"] for entry in document["inputs"]] == ["igvm"]
    assert (value["label"], value["profile"], value["cpu"]) == ("snp/qemu/-/vcpus1", "qemu", "-")
    assert (value["policy"], value["origins"]["policy"]) == ("0xb0000", "GUEST_POLICY")
    assert (value["vmsa_gpa"], value["guest_features"]) == ("0xfffffffff000", "0x1")
    assert (value["digest"], value["algorithm"], value["doubts"]) == (digest, "sha384", [])
    for fmt in ("table", "markdown"):
        text = run("measure", portable, "-f", fmt, "--loader", "qemu").out
        assert digest in text
        assert "0xb0000 (GUEST_POLICY)" in text
    unknown = run("measure", portable, "-f", "xml")
    assert unknown.status == 2


def test_the_plan_ends_in_the_digest(portable: Path) -> None:
    digest = run("measure", portable, "--loader", "qemu").out.strip()
    document = json.loads(run("plan", portable, "--loader", "qemu", "-f", "json").out)
    assert [update["page_type"] for update in document["updates"]] == ["normal", "vmsa"]
    assert document["updates"][-1]["launch_digest"] == digest
    assert document["label"] == "snp/qemu/-/vcpus1"
    table = run("plan", portable).out
    assert table.count("snp/") == len(LOADERS)
    assert digest in table
    assert "0x20000" in table
    assert run("plan", portable, "--seed").status == 2
    assert run("plan", portable, "--vcpus", "3", "--loader", "qemu").status == 2


def test_a_cpu_that_no_vcpu_starts_as_is_refused(portable: Path) -> None:
    """The file describes its vCPU: a --cpu that is read and ignored would look like a check of it."""
    for verb in ("measure", "plan"):
        result = run(verb, portable, "--cpu", "EPYC-Genoa", *(("--target", "qemu") if verb == "plan" else ()))
        assert (result.status, result.out) == (2, ""), result
        assert "--cpu EPYC-Genoa: no vCPU uses it" in result.err


def test_vcpus_that_the_file_does_not_describe(portable: Path, tmp_path: Path) -> None:
    refused = run("measure", portable, "--loader", "qemu", "--vcpus", "2")
    assert refused.status == 2
    assert "vCPU 1: it starts in the reset state of its CPU model" in refused.err
    assert "--cpu" in refused.err
    found = {}
    for model in ("EPYC-Milan", "0x00a00f11", "EPYC-Genoa"):
        result = run("measure", portable, "--loader", "qemu", "--vcpus", "2", "--cpu", model)
        found[model] = result.out
    assert found["EPYC-Milan"] == found["0x00a00f11"] != found["EPYC-Genoa"]
    folder = tmp_path / "vmsa"
    run(
        "measure",
        portable,
        "--loader",
        "qemu",
        "--vcpus",
        "2",
        "--cpu",
        "EPYC-Milan",
        "--dump-vmsa",
        folder,
    )
    assert (folder / "vmsa0.bin").read_bytes() == VMSA
    described = json.loads(run("inspect", folder / "vmsa1.bin", "-f", "json").out)
    fields = {field["name"]: field["value"] for field in described["fields"]}
    assert (fields["rdx"], fields["rip"], fields["sev_features"]) == ("0xa00f11", "0xfff0", "0x1")
    assert fields["cs"]["base"] == "0xffff0000"
    # Loaders that measure the file give its digest; the others say why they give none.
    everyone = run("measure", portable, "--vcpus", "2")
    assert everyone.status == 0
    assert everyone.out.count("vcpus2") == len(LOADERS) - 2
    assert "qemu: note: cannot load this file" in everyone.err


@pytest.mark.parametrize("model", ["EPYC-Milann", "-1", "0x100000000"])
def test_a_cpu_that_there_is_not(portable: Path, model: str) -> None:
    result = run("measure", portable, "--vcpus", "2", f"--cpu={model}")
    assert result.status == 2
    assert f"--cpu: unknown CPU model {model!r}" in result.err


@pytest.mark.parametrize("count", [0, 4097])
def test_a_number_of_vcpus_that_no_guest_has(portable: Path, count: int) -> None:
    result = run("measure", portable, "--vcpus", count, "--loader", "qemu")
    assert result.status == 2
    assert "a guest has 1 to 4096" in result.err


def test_a_kernel_that_cloud_hypervisor_is_given(portable: Path, tmp_path: Path) -> None:
    kernel, initrd = tmp_path / "vmlinuz", tmp_path / "initrd"
    kernel.write_bytes(b"kernel")
    initrd.write_bytes(b"initrd")
    name = "cloud-hypervisor-kvm"
    flags = ["--with-kernel", str(kernel), "--with-cmdline", "console=ttyS0"]
    plain = run("measure", portable, "--loader", name).out
    without = run("measure", portable, "--loader", name, *flags).out
    found = run("measure", portable, "--loader", name, *flags, "--with-initrd", initrd).out
    assert len({plain, without, found}) == 3
    plan = json.loads(run("plan", portable, "--loader", name, *flags, "-f", "json").out)
    assert [(u["origin"], u["gpa"]) for u in plan["updates"]][1] == ("kernel hashes", "0x10000")
    value = json.loads(run("measure", portable, "--loader", name, *flags, "-f", "json").out)["values"][0]
    assert value["kernel_hashes"] is True
    assert run("measure", portable, *flags).out.count(plain.strip()) == len(LOADERS) - 1
    refused = run("measure", portable, "--loader", "qemu", *flags)
    assert "it writes no kernel hashes of its own" in refused.err
    assert "--with-kernel FILE" in run("measure", portable, "--with-initrd", initrd).err
    assert "cannot read" in run("measure", portable, "--with-kernel", tmp_path / "missing").err


def test_flags_of_the_other_kind(portable: Path, tmp_path: Path) -> None:
    for flags in (["--set", "vcpu.count=2"], ["--lint"]):
        result = run("measure", portable, *flags)
        assert result.status == 2
        assert f"{flags[0]} is for manifests" in result.err
    hello = Path(__file__).resolve().parents[2] / "guests" / "hello" / "guest.toml"
    for verb in ("measure", "plan"):
        result = run(verb, hello, "--vcpus", "2")
        assert result.status == 2
        assert "--vcpus is for IGVM files" in result.err
        assert "vcpu.count" in result.err
        assert "--mode is for IGVM files" in run(verb, hello, "--mode", "snp").err
    assert run("measure", tmp_path / "missing", "--loader", "qemu").status == 2


def test_a_file_that_is_not_valid(portable: Path) -> None:
    data = bytearray(portable.read_bytes())
    data[24 + 8] ^= 1
    portable.write_bytes(bytes(data))
    for verb in ("measure", "plan", "inspect"):
        result = run(verb, portable)
        assert result.status == 2
        assert "guest.toml: fixed header at 0x14: the checksum is" in result.err


def test_a_file_of_several_platforms(tmp_path: Path) -> None:
    platforms = [
        SupportedPlatform(4, 0, PlatformType.SEV_ES),
        SNP,
        SupportedPlatform(8, 0, PlatformType.NATIVE),
    ]
    contexts: list[Header] = [BSP, VpContext(0xFFFFFFFFF000, 4, build_vmsa({"rip": 0xFFF0}), 0)]
    pages: list[Header] = [PageData(0x1000, 15, b"\1"), PageData(0x2000, 4, b"\2")]
    path = _file(tmp_path, *platforms, POLICY, GuestPolicy(5, 4), *pages, *contexts)
    strongest = run("measure", path, "--loader", "qemu")
    assert "platforms for snp, sev-es: each loader takes the strongest it knows" in strongest.err
    assert "--mode snp|sev-es picks one" in strongest.err
    assert run("measure", path, "--loader", "qemu", "--mode", "snp") == strongest._replace(err="")
    weaker = run("measure", path, "--mode", "sev-es", "-f", "json")
    values = {value["profile"]: value for value in json.loads(weaker.out)["values"]}
    assert sorted(values) == ["igvmmeasure", "igvmmeasure-native-zero", "qemu"]
    assert {value["mode"] for value in values.values()} == {"sev-es"}
    assert values["qemu"]["policy"] == "0x5"
    assert "cloud-hypervisor-kvm: note: cannot load this file: it takes snp, not sev-es" in weaker.err
    published = tmp_path / "values.json"
    published.write_text(weaker.out)
    assert run("verify", published, "--against", path).status == 0
    both = tmp_path / "both.json"
    (tmp_path / "snp.json").write_text(run("measure", path, "-f", "json").out)
    assert run("merge", published, tmp_path / "snp.json", "-o", both).status == 0
    for mode in ("snp", "sev-es"):
        assert run("measure", path, "--mode", mode, "--expect", both).status == 0
    assert run("measure", path, "--expect", both).status == 1
    text = run("inspect", path, "--mode", "sev-es").out
    assert "as sev-es; the file has platforms for snp, sev-es, and --mode picks one" in text
    assert "refused: it takes snp, not sev-es" in text
    for mode, reason in (("sev", "it has snp, sev-es"), ("sev-spn", "one of sev, sev-es, snp")):
        result = run("measure", path, "--mode", mode)
        assert result.status == 2
        assert f"--mode {mode}: " in result.err
        assert reason in result.err


def test_a_file_that_nobody_takes(tmp_path: Path) -> None:
    native = SupportedPlatform(1, 0, PlatformType.NATIVE)
    path = _file(tmp_path, native, PageData(0x1000, 1, b"\1"))
    result = run("measure", path)
    assert result.status == 2
    assert "no loader can load this file" in result.err
    assert "qemu: the file's platforms are NATIVE" in result.err
    assert run("inspect", path).out.count("refused: ") == len(LOADERS)


def test_pages_that_overlap_are_the_processors_to_refuse(tmp_path: Path) -> None:
    path = _file(tmp_path, SNP, POLICY, PAGES[0], PAGES[0], BSP)
    one = run("measure", path, "--loader", "igvmmeasure")
    assert one.status == 2
    assert "INVALID_PAGE_STATE" in one.err
    everyone = run("measure", path)
    assert everyone.status == 2
    assert everyone.err.count("INVALID_PAGE_STATE") == len(LOADERS)


def test_no_policy_in_the_file(tmp_path: Path) -> None:
    result = run("measure", _file(tmp_path, SNP, *PAGES, BSP), "--loader", "qemu")
    assert result.status == 0
    assert "the file has no policy; the default is used, 0x30000" in result.err
    assert not run("measure", _file(tmp_path, SNP, *PAGES, BSP), "--loader", "qemu", "--quiet").err


def test_inspect_keeps_digest_and_boot_apart(tmp_path: Path) -> None:
    path = _file(tmp_path, SNP, POLICY, *PAGES, BSP, ID_BLOCK)
    document = json.loads(run("inspect", path, "-f", "json").out)
    assert document["portable"] is True
    assert document["same_digest"] is True
    doubts = {entry["loader"]: [doubt["kind"] for doubt in entry["doubts"]] for entry in document["loaders"]}
    assert doubts["igvm-reference"] == []
    assert doubts["qemu"] == doubts["cloud-hypervisor-kvm"] == ["cannot-boot"]
    text = run("inspect", path).out
    assert "portable: yes: one digest in every loader" in text
    assert "launch digest by loader: one and the same" in text
    assert "cannot boot: the file's ID block is for launch digest 0000000000000000..." in text
    digest = bytes.fromhex(document["loaders"][0]["digest"])
    unsigned = ID_BLOCK._replace(ld=digest)
    text = run("inspect", _file(tmp_path, SNP, POLICY, *PAGES, BSP, unsigned)).out
    assert "cannot boot: the file's ID block is refused, BAD_SIGNATURE: the ID key: " in text
    matching = id_block_header(signed(IdBlock(digest, POLICY.policy)))
    text = run("inspect", _file(tmp_path, SNP, POLICY, *PAGES, BSP, matching)).out
    assert "  qemu                  nothing known against it" in text
    # The policy that is signed is the file's.
    other = GuestPolicy(0x30000, 1)
    text = run("inspect", _file(tmp_path, SNP, other, *PAGES, BSP, matching)).out
    assert "the file's ID block is refused, BAD_SIGNATURE: not signed by the ID key" in text


def test_inspect_shows_every_part(tmp_path: Path) -> None:
    area: list[Header] = [ParameterArea(0x2000, 3), ParameterInsert(0x100000, 1, 3)]
    zero = PageData(0x50000, 1, None, PageFlags.UNMEASURED)
    memory = RequiredMemory(0x1000, 1, 0x4000)
    unknown = UnknownHeader(0x80000350, b"12345678")
    path = _file(tmp_path, SNP, POLICY, memory, *area, *PAGES, zero, BSP, unknown)
    document = json.loads(run("inspect", path, "-f", "json").out)
    assert [(entry["gpa"], entry["pages"], entry["flags"]) for entry in document["regions"]] == [
        ("0x20000", 8, []),
        ("0x50000", 1, ["unmeasured"]),
    ]
    assert document["parameter_areas"] == [
        {"header": 3, "index": 3, "size": "0x2000", "initial_data": False, "inserted_at": "0x100000"}
    ]
    assert document["vp_contexts"][0]["sev_features"] == ["snp-active"]
    assert document["required_memory"][0]["size"] == "0x4000"
    assert document["other"] == [{"header": 15, "type": "type 0x80000350", "size": 8}]
    rules = {breach["rule"] for breach in document["breaches"]}
    assert rules == {"parameter areas", "directives"}
    text = run("inspect", path).out
    assert "warning: header 15" in text
    assert "portable: no" in text
    assert "refused: header 15, type 0x80000350, stops it" in text


def test_a_published_fixture_by_the_command_line() -> None:
    """The digest is that of microsoft/openvmm 1488a37b, file_loader.rs::test_snp_measurement."""
    path = shared_file("igvm/openvmm_snp_vector.igvm")
    digest = (
        "889a19386c82e2219bded3e92a764e8c00c29b966d04a662bca6cfdfec647b9051995653390783846557913263d71c4f"
    )
    result = run("measure", path, "--loader", "igvm-reference", "--expect", digest)
    assert (result.status, result.out) == (0, digest + "\n")
    several = run("measure", shared_file("igvm/snp_portable.igvm"), "--loader", "cloud-hypervisor-mshv")
    assert "not established: what it makes of 2 VP contexts" in several.err


def test_inspect_on_every_fixture() -> None:
    for name in ("snp_all_v2", "sev_es", "sev_only", "snp_vmsa_first", "signed/snp_all_v2_signed"):
        path = shared_file(f"igvm/{name}.igvm")
        assert run("inspect", path).status == 0
        document = json.loads(run("inspect", path, "--format", "json").out)
        assert document["kind"] == "igvm"
