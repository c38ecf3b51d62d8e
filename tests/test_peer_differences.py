"""Where peers are wrong, or answer what cannot be: how, and why we differ (docs/peers.md has the list).

Without another name, the peer is sev-snp-measure 0.0.13.

Each test states the peer's answer as it is, so that a release that mends it is noticed here.
"""

from __future__ import annotations

import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.identity.sev_certificate import SevCertificate, certificates_in
from sevbuild.identity.sev_platform import OwnedGuest
from sevbuild.identity.sev_session import Session
from sevbuild.launch.status import LaunchError, Status
from sevbuild.manifest.profiles import load_profile
from sevbuild.vcpu.reset import initial_vmsa
from sevbuild.vcpu.save_area import parse_vmsa
from tests.support.firmware import HASH_TABLE, SECTIONS, make_firmware
from tests.support.guests import digest_of, digests_of, guest_of
from tests.support.old_peers import snpguest
from tests.support.peer import peer_digest
from tests.support.real import peer_program
from tests.support.sev_platform import own_platform
from tests.support.shared import shared_file

SIGNATURE = 0x800F12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with an OVMF.fd that can do everything."""
    _firmware(tmp_path, SECTIONS)
    return tmp_path


def _firmware(folder: Path, sections: list[tuple[int, int, int]] | None, **more: Any) -> None:
    options = {"reset": 0x80B004, "hash_table": HASH_TABLE, **more}
    (folder / "OVMF.fd").write_bytes(make_firmware(size=0x4000, sections=sections, fill=b"OVMF", **options))


def _tables(mode: str = "snp", profile: str = "qemu", **launch: Any) -> dict[str, Any]:
    return {
        "launch": {"mode": mode, "profile": profile, **launch},
        "firmware": {"path": "OVMF.fd"},
        "vcpu": {"model": "EPYC-v4", "count": 1},
    }


def test_the_default_sev_es_guest_of_qemu_has_no_fpu_state(folder: Path) -> None:
    """QEMU's legacy-vm-type is `auto`, which means on: KVM_SEV_ES_INIT leaves MXCSR and FCW zero.

    The VMSAs that sevctl ships for libvirt users show it; the peer writes INIT2's values for every guest.
    """
    peer = peer_digest(folder, "sev-es")
    assert digest_of(folder, **_tables("sev-es", "qemu-es-init2")) == peer
    assert digest_of(folder, **_tables("sev-es", "qemu")) != peer
    shown = parse_vmsa(shared_file("launch-abi/sevctl/vmsa0.bin").read_bytes())
    state = load_profile("qemu").rules.launch.vcpu_state("sev-es", "bsp")
    page = initial_vmsa(state, entry=0xFFFFFFF0, signature=0xA00F11, guest_features=0)
    assert parse_vmsa(page) == shown
    assert (shown["mxcsr"], shown["x87_fcw"]) == (0, 0)


@pytest.mark.parametrize(("name", "vcpu"), [("vmsa0.bin", 0), ("vmsa1.bin", 1), ("vmsa1.bin", 2)])
def test_our_sev_es_vmsas_are_those_of_sevctl(tmp_path: Path, name: str, vcpu: int) -> None:
    shown = shared_file(f"launch-abi/sevctl/{name}").read_bytes()
    firmware = shared_file("launch-abi/sevctl/OVMF.amdsev.fd_trimmed_edk2-ovmf-20220126gitbb1bba3d77-4.el9")
    tables = _tables("sev-es", "qemu")
    tables["firmware"] = {"path": str(firmware)}
    tables["vcpu"] = {"model": "EPYC-Milan", "count": 3}
    (measured,) = guest_of(tmp_path, **tables).measure()
    assert measured.plan.vmsas[vcpu].data == shown


def test_sev_es_features_are_not_ignored(folder: Path) -> None:
    """The peer computes SEV-ES without features whatever it is told; hosts with DebugSwap set bit 5."""
    assert peer_digest(folder, "sev-es", features=0x20) == peer_digest(folder, "sev-es", features=0)
    found = {
        digest_of(folder, **_tables("sev-es", "qemu-es-init2", **{"guest-features": features}))
        for features in (0x0, 0x20)
    }
    assert len(found) == 2
    assert peer_digest(folder, "sev-es") in found


@pytest.mark.parametrize("profile", ["qemu-es-debugswap"])
def test_hosts_of_6_6_can_be_named(folder: Path, profile: str) -> None:
    """No setting of the peer gives this digest: legacy FPU state and DebugSwap."""
    wanted = digest_of(folder, **_tables("sev-es", profile))
    assert wanted == digest_of(folder, **_tables("sev-es", "qemu", **{"guest-features": 0x20}))
    assert wanted not in {peer_digest(folder, "sev-es", features=bits) for bits in (0x0, 0x1, 0x20, 0x21)}


def test_a_guest_on_genoa_at_gce_has_its_vmsa_at_the_top_of_52_bits(folder: Path) -> None:
    """google/gce-tcb-verifier takes the product's address width; the peer takes 48 bits for all."""
    peer = peer_digest(folder, "snp", vmm="gce")
    assert digest_of(folder, **_tables("snp", "gce")) == peer
    assert digest_of(folder, **_tables("snp", "gce-genoa")) != peer


@pytest.mark.parametrize("count", [0, -3])
def test_a_guest_without_vcpus_has_no_digest(folder: Path, count: int) -> None:
    """The peer prints the digest of the regions alone, which no guest can have."""
    assert peer_digest(folder, "snp", vcpus=0) == peer_digest(folder, "snp", vcpus=-3)
    tables = _tables()
    tables["vcpu"]["count"] = count
    with pytest.raises(SevbuildError, match=r"vcpu\.count: must be 1\.\.4096"):
        digest_of(folder, **tables)


def test_firmware_without_sev_metadata_cannot_boot_snp(folder: Path) -> None:
    """The peer prints a digest; QEMU exits for want of the metadata."""
    _firmware(folder, None)
    assert len(peer_digest(folder, "snp")) == 96
    with pytest.raises(SevbuildError, match="no SEV metadata"):
        digest_of(folder, **_tables())
    assert digest_of(folder, **_tables("sev-es", "qemu-es-init2")) == peer_digest(folder, "sev-es")


def test_an_unknown_section_kind_is_zero_pages(folder: Path) -> None:
    """Upstream QEMU takes its default, ZERO; the peer stops with a traceback."""
    _firmware(folder, [*SECTIONS, (0x820000, 0x1000, 9)])
    with pytest.raises(ValueError, match="9 is not a valid SectionType"):
        peer_digest(folder, "snp")
    guest = guest_of(folder, **_tables())
    (measured,) = guest.measure()
    assert any("unknown kind 0x9" in notice.message for notice in guest.notices)
    _firmware(folder, [*SECTIONS, (0x820000, 0x1000, 1)])
    # Kind enters the firmware's own bytes, so the digests differ; what is launched is the same.
    (same,) = guest_of(folder, **_tables()).measure()
    assert [update[:3] for update in measured.plan.regions] == [update[:3] for update in same.plan.regions]


@pytest.mark.parametrize("kind", [2, 3])
def test_sections_of_several_secrets_or_cpuid_pages_are_launched_whole(folder: Path, kind: int) -> None:
    """QEMU and GCE pass the section's length; the peer launches its first page."""
    pages = [(0x800000, 0x2000, 1), (0x80D000, 0x1000, 5 - kind), (0x80E000, 0x2000, kind)]
    _firmware(folder, pages)
    (measured,) = guest_of(folder, **_tables()).measure()
    assert measured.digest.hex() != peer_digest(folder, "snp")
    (whole,) = [update for update in measured.plan.regions if update.gpa == 0x80E000]
    assert whole.length == 0x2000


def test_one_vcpu_needs_no_reset_block(folder: Path) -> None:
    """An application processor's address is of no use to one vCPU; the peer asks for it all the same."""
    _firmware(folder, SECTIONS, reset=None)
    with pytest.raises(RuntimeError, match="SEV_ES_RESET_BLOCK"):
        peer_digest(folder, "snp")
    assert len(digest_of(folder, **_tables())) == 96
    tables = _tables()
    tables["vcpu"]["count"] = 2
    with pytest.raises(SevbuildError, match="no SEV-ES reset block"):
        digest_of(folder, **tables)


def test_overlapping_sections_cannot_be_launched(folder: Path) -> None:
    """The RMP lets a page be launched once; the peer hashes it twice."""
    _firmware(folder, [*SECTIONS, (0x801000, 0x2000, 1)])
    assert len(peer_digest(folder, "snp")) == 96
    with pytest.raises(SevbuildError, match=r"overlap|launched before"):
        digest_of(folder, **_tables())


def test_there_is_no_sev_es_on_ec2(folder: Path) -> None:
    """The peer answers with the registers of one and the mode of another."""
    assert len(peer_digest(folder, "sev-es", vmm="ec2")) == 64
    with pytest.raises(SevbuildError, match="profile ec2 cannot launch sev-es"):
        digest_of(folder, **_tables("sev-es", "ec2"))


def test_the_svsm_starts_as_hardware_measured_it(tmp_path: Path) -> None:
    """The peer's keyword `fcw` is no field of its structure, so its VMSA has MXCSR without FCW.

    Both kinds of host leave the pair alone or set both; the value read on hardware has neither.
    """
    _firmware(tmp_path, SECTIONS)
    svsm = make_firmware(
        size=0x3000,
        sections=[(0x0, 0x9E000, 1), (0x9E000, 0x1000, 2), (0x9F000, 0x1000, 3)],
        reset=None,
        hash_table=None,
        svsm_entry=0x40,
        fill=b"SVSM",
    )
    (tmp_path / "svsm.bin").write_bytes(svsm)
    tables = _tables("snp", "svsm-qemu")
    tables["svsm"] = {"path": "svsm.bin", "vars-size": 0x84000}
    (measured,) = guest_of(tmp_path, **tables).measure()
    peer = peer_digest(tmp_path, "snp:svsm", svsm="svsm.bin", vars_size=0x84000)
    assert measured.digest.hex() != peer
    own = tmp_path / "typo.toml"
    own.write_text(
        'schema = 1\nname = "typo"\nextends = "svsm-qemu"\nsummary = "as the peer has it"\nas-of = "0.0.13"\n'
        "[initial-state.snp]\nmxcsr = 0x1f80\n"
    )
    tables["launch"]["profile"] = "typo.toml"
    # The one field is all there is between us: with it, the digests are equal.
    assert digest_of(tmp_path, **tables) == peer


def test_spaces_around_a_command_line_are_measured(folder: Path) -> None:
    """virtee/sev trims them, QEMU does not; the peer agrees with us here."""
    (folder / "kernel").write_bytes(b"kernel")
    found = set()
    for cmdline in ("quiet", " quiet", "quiet ", "quiet\n"):
        tables = _tables()
        tables["kernel"] = {"path": "kernel", "cmdline": cmdline}
        digest = digest_of(folder, **tables)
        assert digest == peer_digest(folder, "snp", kernel="kernel", append=cmdline)
        found.add(digest)
    assert len(found) == 4


def _snpguest(folder: Path, model: str, *more: str, firmware: str = "OVMF.fd") -> str:
    asked = ["--vcpus", "1", "--vcpu-type", model, "--vmm-type", "QEMU", "--ovmf", str(folder / firmware)]
    return snpguest([*asked, *more], folder)


def test_snpguest_trims_the_command_line(folder: Path) -> None:
    """So does every user of virtee's `sev` crate (8.0.0): QEMU hashes the line as it is, and a NUL."""
    files = []
    for name in ("kernel", "initrd"):
        (folder / name).write_bytes(name.encode())
        files += [f"--{name}", str(folder / name)]
    ours = {}
    for cmdline in ("quiet", "quiet ", " quiet"):
        tables = _tables()
        tables["kernel"] = {"path": "kernel", "cmdline": cmdline}
        tables["initrd"] = {"path": "initrd"}
        ours[cmdline] = digest_of(folder, **tables)
        assert _snpguest(folder, "EPYC-v4", *files, "--append", cmdline) == ours["quiet"], cmdline
        assert peer_digest(folder, "snp", kernel="kernel", initrd="initrd", append=cmdline) == ours[cmdline]
    assert len(set(ours.values())) == 3


@pytest.mark.parametrize(("reset", "theirs"), [(0x80B004, 0x80B004), (0xFF80B004, 0x80B004)])
def test_sevctl_reads_three_of_the_four_bytes_of_a_reset_address(
    folder: Path, reset: int, theirs: int
) -> None:
    """The SEV-ES reset block holds a u32; sevctl 0.6.2 drops the top byte, so its VMSA starts elsewhere."""
    _firmware(folder, SECTIONS, reset=reset)
    page = folder / "vmsa1.bin"
    command = [peer_program("sevctl"), "vmsa", "build", str(page), "--cpu", "1", "--userspace", "qemu"]
    command += ["--family", "25", "--model", "1", "--stepping", "1", "--firmware", str(folder / "OVMF.fd")]
    subprocess.run(command, check=True, capture_output=True)
    tables = _tables("sev-es", "qemu")
    tables["vcpu"] = {"model": "EPYC-Milan", "count": 2}
    (measured,) = guest_of(folder, **tables).measure()
    ours, shown = measured.plan.vmsas[1].data, page.read_bytes()
    assert isinstance(ours, bytes)
    assert [_entry(vmsa) for vmsa in (ours, shown)] == [reset, theirs]
    assert (ours == shown) == (reset == theirs)


def _entry(vmsa: bytes) -> int:
    fields = parse_vmsa(vmsa)
    base, rip = fields["cs"]["base"], fields["rip"]  # type: ignore[index,call-overload]
    return int(base) + int(rip)  # type: ignore[arg-type]


def test_turin_is_a_model_of_its_own(folder: Path) -> None:
    """sev-snp-measure-go 74f52d5 has no Turin: it prints a line, and goes on with CPU signature 0."""
    _firmware(folder, SECTIONS[:3])
    tables = _tables()
    tables["vcpu"]["model"] = "EPYC-Turin"
    turin = digest_of(folder, **tables)
    assert turin == peer_digest(folder, "snp", signature=0xB00F00)
    tables["vcpu"] = {"count": 1, "model": None, "signature": 0}
    assert digest_of(folder, **tables) == peer_digest(folder, "snp", signature=0) != turin


@pytest.mark.parametrize("model", ["EPYC-v4", "EPYC-Turin"])
def test_snpguest_has_our_digests_otherwise(folder: Path, model: str) -> None:
    _firmware(folder, SECTIONS[:3])
    tables = _tables()
    tables["vcpu"]["model"] = model
    assert digest_of(folder, **tables) == _snpguest(folder, model)


def test_models_the_peer_does_not_know(folder: Path) -> None:
    """QEMU 10.1 brought these; all versions of a model share a signature, so the digest is known."""
    from sevsnpmeasure.vcpu_types import CPU_SIGS

    for model, older in (
        ("EPYC-v5", "EPYC-v4"),
        ("EPYC-Rome-v5", "EPYC-Rome"),
        ("EPYC-Genoa-v2", "EPYC-Genoa"),
    ):
        assert model not in CPU_SIGS
        tables = _tables()
        tables["vcpu"]["model"] = [model, older]
        assert len(set(digests_of(folder, **tables).values())) == 1


def test_sevctl_binds_a_session_to_another_minimum_api(tmp_path: Path) -> None:
    """It reads four bits of each number where there are eight, so that LAUNCH_START refuses the session.

    The reading is that of virtee/sev 6.3.1, src/firmware/host/types/sev.rs.
    """
    policy, taken = 0x1F010005, 0x01000005
    platform = own_platform()
    (tmp_path / "pdh.cert").write_bytes(platform.files["pdh"])
    command = [peer_program("sevctl"), "session", "--name", "vm", "pdh.cert", str(policy)]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    godh, session = (b64decode((tmp_path / f"vm_{name}.b64").read_text()) for name in ("godh", "session"))
    tik = (tmp_path / "vm_tik.bin").read_bytes()
    assert [Session.decode(session, "").is_for(number, tik) for number in (policy, taken)] == [False, True]
    with pytest.raises(LaunchError) as caught:
        OwnedGuest(platform.pdh).launch_start(policy, godh, session)
    assert caught.value.status == Status.BAD_MEASUREMENT


def test_sevctl_signs_what_was_in_memory(tmp_path: Path) -> None:
    """Behind the key of an OCA that it generates are addresses of its stack, and the signature holds."""
    command = [peer_program("sevctl"), "generate", "oca.cert", "oca.key"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    (oca,) = certificates_in((tmp_path / "oca.cert").read_bytes(), "oca")
    assert isinstance(oca, SevCertificate)
    assert oca.signed(oca)
    assert any(oca.body[164:])
