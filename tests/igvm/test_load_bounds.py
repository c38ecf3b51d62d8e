"""Loaders at their bounds: numbers of vCPUs and ID blocks, and what lies beside the kernel hashes."""

from __future__ import annotations

from typing import Any

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import (
    GuestPolicy,
    Header,
    PageData,
    PageDataType,
    PageFlags,
    ParameterArea,
    ParameterInsert,
    PlatformType,
    SupportedPlatform,
)
from sevbuild.igvm.load import load
from sevbuild.igvm.loaded import Loaded, LoadRequest
from sevbuild.igvm.loaders import LOADERS
from sevbuild.igvm.pages import UpdateMaker
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import MemorySource
from sevbuild.igvm.writer import write_igvm
from sevbuild.image.kernel_hashes import KernelHashes
from sevbuild.vcpu.save_area import build_vmsa, parse_vmsa
from tests.support.igvm import BSP, SNP, VMSA
from tests.support.igvm import ID_BLOCK as ZEROS_BLOCK

SEV_ES = SupportedPlatform(2, 0, PlatformType.SEV_ES)
POLICY = GuestPolicy(0x30000, 1)
TOP = 0xFFFFFFFFF000
PAGE = PageData(0x20000, 1, b"\xaa" * 4096)
ID_BLOCK = ZEROS_BLOCK._replace(ld=b"d" * 48)
HASHES = KernelHashes(b"k" * 32, b"i" * 32, b"c" * 32)


def _loaded(name: str, *headers: Header, **request: Any) -> Loaded:
    source = MemorySource(write_igvm(IgvmFile(1, headers)))
    return load(read_igvm(source), LOADERS[name], UpdateMaker(source), LoadRequest(**request))


def _reset(features: int) -> bytes:
    return build_vmsa({"rip": 0xFFF0, "sev_features": features})


def test_a_launch_has_one_id_block_at_most() -> None:
    for name in LOADERS:
        assert _loaded(name, SNP, POLICY, ID_BLOCK, PAGE, BSP).id_blocks == (ID_BLOCK,)
        two: list[Header] = [SNP, POLICY, ID_BLOCK, ID_BLOCK, PAGE, BSP]
        if LOADERS[name].launches:
            with pytest.raises(SevbuildError, match="the file has 2 ID blocks"):
                _loaded(name, *two)
        else:
            assert len(_loaded(name, *two).id_blocks) == 2
    other = ID_BLOCK._replace(compatibility_mask=2)
    assert _loaded("qemu", SNP, SEV_ES, POLICY, ID_BLOCK, other, PAGE, BSP).id_blocks == (ID_BLOCK,)


def test_a_file_that_is_in_order_leaves_no_doubt() -> None:
    cpuid = PageData(0x30000, 1, b"\1", PageFlags(0), PageDataType.CPUID_DATA)
    secrets = PageData(0x31000, 1, None, PageFlags(0), PageDataType.SECRETS)
    for name in LOADERS:
        loaded = _loaded(name, SNP, POLICY, PAGE, cpuid, secrets, BSP)
        assert (loaded.doubts, loaded.policy_given, loaded.contexts) == ((), True, 1)


def test_as_many_vcpus_as_the_file_describes_may_be_asked_for() -> None:
    for name in LOADERS:
        loaded = _loaded(name, SNP, POLICY, PAGE, BSP, BSP._replace(vp_index=1), vcpus=2)
        assert (loaded.vcpus, len(loaded.vmsas)) == (2, 2)
        assert [update.origin for update in loaded.vmsas] == ["vp context 0", "vp context 1"]
        assert not loaded.takes_signature


def test_a_vcpu_in_the_reset_state_has_the_features_of_its_mode() -> None:
    for platform, features in ((SNP, 1), (SEV_ES, 0)):
        mask = platform.compatibility_mask
        policy = GuestPolicy(0x30000 if mask == 1 else 5, mask)
        page = PAGE._replace(compatibility_mask=mask)
        loaded = _loaded("qemu", platform, policy, page, vcpus=2, reset_state=_reset)
        assert [update.data for update in loaded.vmsas] == [_reset(features)] * 2
        assert [update.gpa for update in loaded.vmsas] == [TOP] * 2
        assert (loaded.takes_signature, loaded.guest_features) == (True, features)


def test_later_vcpus_have_the_features_of_the_first() -> None:
    first = build_vmsa({**parse_vmsa(VMSA), "sev_features": 0x21})
    loaded = _loaded("qemu", SNP, POLICY, PAGE, BSP._replace(data=first), vcpus=2, reset_state=_reset)
    assert [update.data for update in loaded.vmsas] == [first, _reset(0x21)]


def _regions(*headers: Header, hashes: bool = True) -> list[tuple[str, int, int, str]]:
    request = {"kernel_hashes": HASHES} if hashes else {}
    loaded = _loaded("cloud-hypervisor-kvm", SNP, POLICY, *headers, BSP, **request)
    return [(it.page_type.label, it.gpa, it.length // 4096, it.origin) for it in loaded.plan.regions]


def _run(first: int, count: int, *, data: bool = True) -> list[Header]:
    return [
        PageData(0x1000 * (first + number), 1, bytes([1 + number]) * 4096 if data else None)
        for number in range(count)
    ]


@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize(
    ("first", "count", "parts"),
    [
        (0xE, 2, [(0xE, 2), None]),
        (0xE, 3, [(0xE, 2), None]),
        (0xE, 4, [(0xE, 2), None, (0x11, 1)]),
        (0x10, 1, [None]),
        (0x10, 3, [None, (0x11, 2)]),
        (0x11, 2, [(0x11, 2), None]),
    ],
)
def test_hashes_go_into_the_page_of_theirs_alone(
    first: int, count: int, parts: list[tuple[int, int] | None], data: bool
) -> None:
    kind = "normal" if data else "zero"
    end: list[Header] = [PAGE._replace(gpa=0x100000)]
    expected: list[tuple[str, int, int, str]] = [
        ("normal", 0x10000, 1, "kernel hashes")
        if part is None
        else (kind, part[0] * 0x1000, part[1], "page data")
        for part in parts
    ]
    found = [it for it in _regions(*_run(first, count, data=data), *end) if it[1] != 0x100000]
    assert found == expected
    plain = [it for it in _regions(*_run(first, count, data=data), *end, hashes=False) if it[1] != 0x100000]
    assert plain == [(kind, first * 0x1000, count, "page data")]


def test_the_bytes_around_the_hashes_stay() -> None:
    source = MemorySource(write_igvm(IgvmFile(1, [SNP, POLICY, *_run(0xE, 5), BSP])))
    request = LoadRequest(kernel_hashes=HASHES)
    loaded = load(read_igvm(source), LOADERS["cloud-hypervisor-kvm"], UpdateMaker(source), request)
    before, page, after = loaded.plan.regions
    assert b"".join((_bytes(before), _bytes(after))) == b"".join(bytes([it]) * 4096 for it in (1, 2, 4, 5))
    assert _bytes(page)[:0xC00] == b"\3" * 0xC00


def _bytes(update: Any) -> bytes:
    data = update.data
    return data if isinstance(data, bytes) else data.read(0, len(data))


@pytest.mark.parametrize(
    ("gpa", "pages", "over"),
    [(0xF000, 1, False), (0xF000, 2, True), (0x10000, 1, True), (0x11000, 1, False), (0xE000, 4, True)],
)
def test_a_parameter_area_keeps_off_the_page_of_hashes(gpa: int, pages: int, over: bool) -> None:
    area: list[Header] = [ParameterArea(pages * 0x1000, 0), ParameterInsert(gpa, 1, 0)]
    if over:
        with pytest.raises(SevbuildError, match="lies over the kernel hashes at 0x10000"):
            _regions(*area, PAGE)
        _regions(*area, PAGE, hashes=False)
    else:
        assert ("unmeasured", gpa, pages, "parameter area 0") in _regions(*area, PAGE)


def test_what_is_for_another_platform_is_not_launched() -> None:
    other: list[Header] = [
        PAGE._replace(gpa=0x50000, compatibility_mask=2),
        ParameterArea(0x1000, 0),
        ParameterInsert(0x60000, 2, 0),
    ]
    for name in LOADERS:
        loaded = _loaded(name, SNP, SEV_ES, POLICY, PAGE, *other, BSP)
        assert [update.gpa for update in loaded.plan.updates] == [0x20000, TOP]


def test_qemu_holds_back_the_last_run_of_pages_alone() -> None:
    area: list[Header] = [ParameterArea(0x1000, 0), ParameterInsert(0x100000, 1, 0)]
    run = [PAGE, PAGE._replace(gpa=0x21000, data=b"\xbb" * 4096)]
    # Its data stands in the file already: for the reader the run ends, for QEMU it goes on.
    follows = PAGE._replace(gpa=0x22000)

    def order(*headers: Header) -> list[tuple[int, int]]:
        updates = _loaded("qemu", SNP, POLICY, *headers, BSP).plan.regions
        return [(update.gpa, update.length // 4096) for update in updates]

    assert order(*run, *area) == [(0x100000, 1), (0x20000, 2)]
    assert order(*run, follows, *area) == [(0x100000, 1), (0x20000, 3)]
    apart = PAGE._replace(gpa=0x30000)
    assert order(*run, apart, *area) == [(0x20000, 2), (0x100000, 1), (0x30000, 1)]
    other = PAGE._replace(gpa=0x22000, flags=PageFlags.UNMEASURED)
    assert order(*run, other, *area) == [(0x20000, 2), (0x100000, 1), (0x22000, 1)]
