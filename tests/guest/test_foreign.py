"""A ready IGVM file: who takes it and who refuses, and what is said of each launch."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from sevbuild.errors import Notice, SevbuildError
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch, given_kernel
from sevbuild.guest.inspect_igvm import inspect_igvm
from sevbuild.identity.id_block import IdBlock
from sevbuild.identity.igvm_block import id_block_header
from sevbuild.igvm.headers import (
    GuestPolicy,
    Header,
    PageData,
    ParameterArea,
    ParameterInsert,
    PlatformType,
    SupportedPlatform,
    VpContext,
)
from sevbuild.igvm.loaders import LOADERS
from sevbuild.image.kernel_hashes import EMPTY_INITRD_DIGEST, KernelHashes, cmdline_digest
from sevbuild.launch.region_data import chunks
from sevbuild.manifest.model import Cpu
from sevbuild.vcpu.save_area import build_vmsa, parse_vmsa
from tests.support.id_blocks import signed
from tests.support.igvm import BSP, ID_BLOCK, SNP, write_file

SEV_ES = SupportedPlatform(2, 0, PlatformType.SEV_ES)
NATIVE = SupportedPlatform(4, 0, PlatformType.NATIVE)
POLICY = GuestPolicy(0x30000, 1)
ES_POLICY = GuestPolicy(5, 2)
PAGE = PageData(0x20000, 7, b"\xaa" * 4096)
ES_BSP = VpContext(0xFFFFFFFFF000, 2, build_vmsa({"rip": 0xFFF0}), 0)
BOTH = (SNP, SEV_ES, POLICY, ES_POLICY, PAGE, BSP, ES_BSP)
HASHES = KernelHashes(b"k" * 32, b"i" * 32, b"c" * 32)
MILAN = Cpu("EPYC-Milan", 0xA00F11)
KVM = "cloud-hypervisor-kvm"


def _file(folder: Path, *headers: Header) -> ForeignFile:
    return ForeignFile(str(write_file(folder, *headers)))


def _portable(folder: Path) -> ForeignFile:
    return _file(folder, SNP, POLICY, PAGE, BSP)


def _digests(file: ForeignFile, *loaders: str, hashes: KernelHashes | None = None) -> dict[str, str]:
    launch = ForeignLaunch(loaders, kernel_hashes=hashes)
    return {item.target.loader.name: item.digest.hex() for item in file.launches(launch)}


def _notices(file: ForeignFile, launch: ForeignLaunch) -> list[Notice]:
    file.launches(launch)
    return file.notices


def test_every_loader_is_asked_or_those_that_are_named(tmp_path: Path) -> None:
    file = _portable(tmp_path)
    assert [*_digests(file)] == [*_digests(file, "qemu", "all")] == [*LOADERS]
    assert [*_digests(file, "qemu", KVM, "qemu")] == ["qemu", KVM]
    assert len(set(_digests(file).values())) == 1
    assert file.notices == []


def test_patterns_pick_launches_by_label(tmp_path: Path) -> None:
    file = _portable(tmp_path)
    assert [item.label for item in file.launches(ForeignLaunch(), ["qemu"])] == ["snp/qemu/-/vcpus1"]
    with pytest.raises(SevbuildError, match="no target matches 'vcpus2'"):
        file.launches(ForeignLaunch(), ["vcpus2"])


@pytest.mark.parametrize("patterns", [[], ["qemu"]])
def test_where_nobody_takes_a_file_each_loader_has_its_reason(tmp_path: Path, patterns: list[str]) -> None:
    file = _file(tmp_path, NATIVE, PAGE._replace(compatibility_mask=4))
    with pytest.raises(SevbuildError, match=r"guest\.igvm: no loader can load this file") as caught:
        file.launches(ForeignLaunch(), patterns)
    assert [detail.partition(":")[0] for detail in caught.value.details] == [*LOADERS]
    assert all("the file's platforms are NATIVE" in detail for detail in caught.value.details)


def test_a_loader_that_refuses_a_file_alone_is_the_error_and_among_others_a_note(tmp_path: Path) -> None:
    two = _file(tmp_path, SNP, POLICY, ID_BLOCK, ID_BLOCK, PAGE, BSP)
    with pytest.raises(SevbuildError, match=r"guest\.igvm: qemu: the file has 2 ID blocks"):
        two.launches(ForeignLaunch(["qemu"]))
    assert [*_digests(two, "qemu", "igvmmeasure")] == ["igvmmeasure"]
    assert two.notices == [Notice("note", "qemu", "cannot load this file: the file has 2 ID blocks")]


def test_a_plan_that_the_processor_refuses_alone_is_the_error_and_among_others_a_note(tmp_path: Path) -> None:
    """The second page of the parameter area is launched by some loaders alone, over a page of data."""
    area: list[Header] = [ParameterArea(0x2000, 0), ParameterInsert(0x1F000, 1, 0)]
    file = _file(tmp_path, SNP, POLICY, *area, PAGE, BSP)
    with pytest.raises(SevbuildError, match=r"guest\.igvm: qemu: SNP_LAUNCH_UPDATE .*INVALID_PAGE_STATE"):
        file.launches(ForeignLaunch(["qemu"]))
    assert [*_digests(file, "qemu", "igvmmeasure")] == ["igvmmeasure"]
    assert [(notice.where, "INVALID_PAGE_STATE" in notice.message) for notice in file.notices] == [
        ("qemu", True)
    ]
    # Whoever is asked after one that refuses is asked all the same.
    assert [*_digests(file)] == ["igvmmeasure", "igvmmeasure-native-zero", "cloud-hypervisor-mshv"]


def test_a_cpu_is_for_vcpus_that_the_file_does_not_describe(tmp_path: Path) -> None:
    file = _portable(tmp_path)
    with pytest.raises(SevbuildError, match="--cpu EPYC-Milan: no vCPU uses it"):
        file.launches(ForeignLaunch(["qemu"], cpu=MILAN))
    (item,) = file.launches(ForeignLaunch(["qemu"], vcpus=2, cpu=MILAN))
    assert item.label == "snp/qemu/-/vcpus2"
    with pytest.raises(SevbuildError, match=r"guest\.igvm: qemu: .*reset state of its CPU model"):
        file.launches(ForeignLaunch(["qemu"], vcpus=2))


@pytest.mark.parametrize(
    ("platform", "features", "mxcsr", "x87_fcw"), [(SNP, 1, 0x1F80, 0x37F), (SEV_ES, 0, 0, 0)]
)
def test_a_vcpu_that_the_file_does_not_describe_is_reset_as_its_mode_has_it(
    tmp_path: Path, platform: SupportedPlatform, features: int, mxcsr: int, x87_fcw: int
) -> None:
    """KVM copies the state of the FPU into the VMSAs of SNP guests, and leaves it zero in those of SEV-ES."""
    policy = POLICY if platform is SNP else ES_POLICY
    file = _file(tmp_path, platform, policy, PAGE)
    (item,) = file.launches(ForeignLaunch(["qemu"], vcpus=2, cpu=MILAN))
    for update in item.plan.vmsas:
        state = parse_vmsa(b"".join(chunks(update.data or b"")))
        assert (state["mxcsr"], state["x87_fcw"], state["sev_features"]) == (mxcsr, x87_fcw, features)
        assert (state["rip"], state["rdx"]) == (0xFFF0, MILAN.signature)


def test_a_guest_has_1_to_4096_vcpus(tmp_path: Path) -> None:
    file = _portable(tmp_path)
    for count in (1, 4096):
        (item,) = file.launches(ForeignLaunch(["igvm-reference"], vcpus=count))
        assert item.target.vcpus == count
    for count in (0, 4097):
        with pytest.raises(SevbuildError, match=f"--vcpus {count}: a guest has 1 to 4096"):
            file.launches(ForeignLaunch(["igvm-reference"], vcpus=count))


def test_who_writes_no_kernel_hashes_launches_the_file_as_it_is_beside_those_that_do(tmp_path: Path) -> None:
    file = _portable(tmp_path)
    (plain,) = set(_digests(file).values())
    assert _digests(file, "igvm-reference", KVM)[KVM] == plain
    alone = _digests(file, KVM, hashes=HASHES)[KVM]
    assert alone != plain
    assert _digests(file, "igvm-reference", KVM, hashes=HASHES) == {"igvm-reference": plain, KVM: alone}
    assert _digests(file, hashes=HASHES) == dict.fromkeys(LOADERS, plain) | {KVM: alone}
    with pytest.raises(SevbuildError, match="it writes no kernel hashes of its own"):
        file.launches(ForeignLaunch(["qemu"], kernel_hashes=HASHES))


def test_a_mode_picks_a_platform_and_a_choice_left_open_is_noted(tmp_path: Path) -> None:
    message = "the file has platforms for snp, sev-es: each loader takes the strongest it knows"
    note = Notice("note", str(tmp_path / "guest.igvm"), message, "--mode snp|sev-es picks one")
    assert _notices(_file(tmp_path, *BOTH), ForeignLaunch(["qemu"])) == [note]
    for mode in ("snp", "sev-es"):
        file = _file(tmp_path, *BOTH)
        (item,) = file.launches(ForeignLaunch(["qemu"], mode))
        assert (item.plan.mode, file.notices) == (mode, [])
    assert _notices(_portable(tmp_path), ForeignLaunch(["qemu"])) == []


@pytest.mark.parametrize(
    ("headers", "hint"),
    [(BOTH, "it has snp, sev-es"), ((NATIVE, PAGE), "none of its platforms is measured here")],
)
def test_a_mode_that_the_file_does_not_have_is_refused(
    tmp_path: Path, headers: tuple[Header, ...], hint: str
) -> None:
    with pytest.raises(SevbuildError, match=r"--mode sev: .*guest\.igvm has no such platform") as caught:
        _file(tmp_path, *headers).launches(ForeignLaunch(mode="sev"))
    assert caught.value.hint == hint


def test_the_default_policy_is_noted_where_a_guest_would_start_with_it(tmp_path: Path) -> None:
    """What only measures has no policy; igvm-reference wants one all the same, and refuses the file."""
    without = _file(tmp_path, SNP, PAGE, BSP)
    assert _notices(without, ForeignLaunch(["qemu", "igvmmeasure"])) == [
        Notice("note", "snp/qemu/-/vcpus1", "the file has no policy; the default is used, 0x30000")
    ]
    assert _notices(_portable(tmp_path), ForeignLaunch(["qemu"])) == []


def test_what_speaks_against_a_launch_is_a_warning_at_its_label(tmp_path: Path) -> None:
    file = _file(tmp_path, SNP, POLICY, PAGE, BSP, BSP._replace(vp_index=1))
    (warning,) = _notices(file, ForeignLaunch())
    assert (warning.level, warning.where) == ("warning", "snp/cloud-hypervisor-mshv/-/vcpus2")
    assert warning.message == "not established: what it makes of 2 VP contexts"


def test_an_id_block_for_another_digest_stops_a_launch_of_snp_alone(tmp_path: Path) -> None:
    doubt = ("cannot-boot", "the file's ID block is for launch digest 0000000000000000...")
    items = _file(tmp_path, SNP, POLICY, PAGE, BSP, ID_BLOCK).launches(ForeignLaunch())
    for item in items:
        assert item.doubts == ((doubt,) if item.target.loader.launches else ())
    right = id_block_header(signed(IdBlock(items[0].digest, POLICY.policy)))
    for item in _file(tmp_path, SNP, POLICY, PAGE, BSP, right).launches(ForeignLaunch()):
        assert item.doubts == ()
    # For its digest, and not signed: the processor refuses the second too.
    reason = "the file's ID block is refused, BAD_SIGNATURE: not signed by the ID key"
    for item in _file(tmp_path, SNP, POLICY, PAGE, BSP, right._replace(guest_svn=9)).launches(
        ForeignLaunch()
    ):
        assert item.doubts == ((("cannot-boot", reason),) if item.target.loader.launches else ())
    # An SEV-ES launch has no ID block to be held to, whatever the file says.
    es = _file(tmp_path, SEV_ES, ES_POLICY, PAGE, ES_BSP, ID_BLOCK._replace(compatibility_mask=2))
    (item,) = es.launches(ForeignLaunch(["igvmmeasure"]))
    assert (item.plan.mode, item.doubts) == ("sev-es", ())
    (item,) = es.launches(ForeignLaunch(["qemu"]))
    assert (item.plan.mode, item.doubts) == ("sev-es", ())


@pytest.mark.parametrize("initrd", [None, b"initrd" * 1000])
def test_a_kernel_that_is_given_is_hashed_with_its_initrd_and_command_line(
    tmp_path: Path, initrd: bytes | None
) -> None:
    (tmp_path / "vmlinuz").write_bytes(b"kernel")
    (tmp_path / "initrd").write_bytes(initrd or b"")
    given = given_kernel(
        str(tmp_path / "vmlinuz"), None if initrd is None else str(tmp_path / "initrd"), "quiet \udcff"
    )
    digest = EMPTY_INITRD_DIGEST if initrd is None else sha256(initrd).digest()
    assert given.hashes == KernelHashes(sha256(b"kernel").digest(), digest, cmdline_digest(b"quiet \xff"))
    assert given.cmdline == b"quiet \xff"
    records = [("kernel", "vmlinuz", 6), ("initrd", "initrd", 6000)]
    assert [(it.role, it.name, it.size) for it in given.records] == records[: 1 if initrd is None else 2]


def _same(folder: Path, *headers: Header) -> bool:
    return bool(inspect_igvm(str(write_file(folder, *headers)))["same_digest"])


def test_an_inspected_file_tells_what_each_loader_makes_of_it(tmp_path: Path) -> None:
    file = _file(tmp_path, SNP, POLICY, ID_BLOCK, ID_BLOCK, PAGE, BSP)
    document = inspect_igvm(file.path)
    (digest,) = set(_digests(file).values())
    assert [entry["loader"] for entry in document["loaders"]] == [*LOADERS]
    for entry in document["loaders"]:
        name = entry["loader"]
        if LOADERS[name].launches:
            assert entry["launches"] is True
            assert (entry["digest"], entry["label"], entry["vcpus"]) == (None, None, None)
            assert entry["refused"] == "the file has 2 ID blocks"
        else:
            assert entry["launches"] is False
            assert (entry["digest"], entry["refused"]) == (digest, None)
            assert (entry["label"], entry["mode"], entry["vcpus"]) == (f"snp/{name}/-/vcpus1", "snp", 1)
        assert entry["doubts"] == []
    assert document["same_digest"] is True
    assert (document["name"], document["size"], document["modes"]) == ("guest.igvm", file.size, ["snp"])
    assert document["sha256"] == file.sha256().hex() == sha256(Path(file.path).read_bytes()).hexdigest()


def test_an_inspected_file_has_the_same_digest_where_every_loader_that_takes_it_gives_one(
    tmp_path: Path,
) -> None:
    assert _same(tmp_path, SNP, POLICY, PAGE, BSP)
    # Of an empty page, loaders make pages of two types.
    assert not _same(tmp_path, SNP, POLICY, PAGE, PAGE._replace(gpa=0x21000, data=None), BSP)
    assert not _same(tmp_path, NATIVE, PAGE)
