"""IGVM files that are built from manifests, and ready ones that manifests name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild import fs
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.guest import inputs
from sevbuild.guest.guest import Guest
from sevbuild.guest.igvm import FILE_ORIGIN, igvm_file
from sevbuild.guest.lint import lint_guest
from sevbuild.guest.records import input_records
from sevbuild.igvm.build import igvm_of_plan, parameter_places
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import (
    GuestPolicy,
    PageData,
    ParameterInsert,
    PlatformType,
    RequiredMemory,
    SupportedPlatform,
    VpContext,
)
from sevbuild.igvm.load import load
from sevbuild.igvm.loaded import LoadRequest
from sevbuild.igvm.loaders import LOADERS
from sevbuild.igvm.pages import UpdateMaker
from sevbuild.igvm.portable import portable_breaches
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import MemorySource, data_bytes
from sevbuild.image.igvm_areas import IGVM_GUID, IgvmArea
from sevbuild.image.kernel_hashes import KernelHashes, cmdline_digest, hash_page
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.update import LaunchUpdate
from sevbuild.measure.tree import LaunchTree
from tests.support.cli import run
from tests.support.firmware import make_firmware, section_tables, words
from tests.support.guests import digests_of, guest_of
from tests.support.igvm import BSP, SNP, write_file
from tests.support.real import newest_file, real_kernels
from tests.support.shared import shared_file

SECTIONS = [(0x800000, 0x3000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x80F000, 0x1000, 4)]
SECTIONS += [(0x811000, 0x4000, 1), (0x810000, 0x1000, 0x10)]
AREAS = b"IGVM" + words(52, 1, 3, 0x812000, 0x1000, 0x100, 0, 0xC0, 0x101, 0xC0, 0x10, 0x102)
PROFILES = {loader: loader for loader in LOADERS} | {"qemu": "qemu-igvm"}
"""The profile of each loader."""


def _image(sections: list[tuple[int, int, int]], *, areas: bytes = AREAS) -> bytes:
    entry = [(IGVM_GUID, words(0x2000))] if areas else []
    image = make_firmware(size=0x4000, sections=sections, hash_table=(0x810C00, 0x400), extra_entries=entry)
    return image[:0x2000] + areas + image[0x2000 + len(areas) :]


def _guest(folder: Path, sections: list[tuple[int, int, int]] = SECTIONS, **tables: Any) -> Guest:
    (folder / "OVMF.fd").write_bytes(_image(sections))
    (folder / "kernel").write_bytes(b"kernel")
    given_tables = {
        "launch": {"mode": "snp", "profile": "qemu-igvm"},
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdline": "quiet"},
        "vcpu": {"count": [1, 3], "model": ["EPYC-v4", "EPYC-Milan"]},
    }
    return guest_of(folder, **{**given_tables, **tables})


def _files(guest: Guest) -> dict[str, bytes]:
    return {
        target.label: igvm_file(target, guest.laid_out(target), guest.firmware(target.variant))
        for target in guest.targets
    }


def _digest(data: bytes, loader: str) -> str:
    source = MemorySource(data)
    loaded = load(read_igvm(source), LOADERS[loader], UpdateMaker(source))
    return LaunchTree().digest(loaded.plan).hex()


def _headers(data: bytes) -> list[Any]:
    return list(read_igvm(MemorySource(data)).headers)


@pytest.mark.slow
@settings(max_examples=40)
@given(data=st.data())
def test_one_file_has_one_digest_in_every_loader(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("guest")
    sections = [entry for entry in data.draw(section_tables()) if entry[2] != 0x10]
    # The hash page has its own place, away from what was drawn.
    sections = [(gpa, size, kind) for gpa, size, kind in sections if not gpa <= 0x810000 < gpa + size]
    guest = _guest(folder, [*sections, (0x810000, 0x1000, 0x10)])
    for item, file in zip(guest.measure(), _files(guest).values(), strict=True):
        assert {_digest(file, loader) for loader in LOADERS} == {item.digest.hex()}
        assert portable_breaches(read_igvm(MemorySource(file))) == []
        gpas = [header.gpa for header in _headers(file) if isinstance(header, PageData)]
        assert gpas == sorted(gpas)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("parameters", [False, True])
@pytest.mark.parametrize("mode", ["snp", "sev-es", "sev"])
def test_what_is_measured_is_what_is_built(
    tmp_path: Path, loader: str, mode: str, *, parameters: bool
) -> None:
    if mode not in LOADERS[loader].modes:
        with pytest.raises(SevbuildError, match=f"cannot launch {mode}"):
            _guest(tmp_path, launch={"mode": mode, "profile": PROFILES[loader]})
        return
    tables: dict[str, Any] = {"igvm": {"parameters": True}} if parameters else {}
    guest = _guest(tmp_path, launch={"mode": mode, "profile": PROFILES[loader]}, **tables)
    files = _files(guest)
    measured = guest.measure()
    for item in measured:
        assert _digest(files[item.target.label], loader) == item.digest.hex(), item.target.label
    # A described vCPU takes nothing from the CPU model: the models share file and digest.
    digests = {item.target.label: item.digest for item in measured}
    for count in (1, 3):
        labels = [f"{mode}/{PROFILES[loader]}/{model}/vcpus{count}" for model in ("EPYC-v4", "EPYC-Milan")]
        assert files[labels[0]] == files[labels[1]]
        assert digests[labels[0]] == digests[labels[1]]


def test_what_stands_in_a_file(tmp_path: Path) -> None:
    guest = _guest(tmp_path)
    headers = _headers(_files(guest)["snp/qemu-igvm/EPYC-v4/vcpus3"])
    platform, policy = headers[:2]
    assert isinstance(platform, SupportedPlatform)
    assert policy == GuestPolicy(0x30000, 1)
    # Memory in one piece is named once; the flash is none.
    required = [(h.gpa, h.number_of_bytes) for h in headers if isinstance(h, RequiredMemory)]
    assert required == [(0x800000, 0x3000), (0x80D000, 0x8000)]
    pages = {header.gpa: header for header in headers if isinstance(header, PageData)}
    hashes = guest.kernels.hashes(guest.targets[0])
    assert isinstance(hashes, KernelHashes)
    assert hashes.cmdline == cmdline_digest(b"quiet")
    assert data_bytes(pages[0x810000].data or b"") == hash_page(hashes, 0x810C00)
    assert data_bytes(pages[0x800000].data or b"") == bytes(4096)
    assert pages[0x80D000].data is None
    contexts = [header for header in headers if isinstance(header, VpContext)]
    assert [context.vp_index for context in contexts] == [0, 1, 2]
    assert contexts[1].data is not None
    assert headers[-3:] == contexts


def test_elsewhere_only_pages_and_contexts_stand_in_it(tmp_path: Path) -> None:
    for mode in ("sev", "sev-es"):
        guest = _guest(tmp_path, launch={"mode": mode, "profile": "qemu-igvm"})
        headers = _headers(_files(guest)[f"{mode}/qemu-igvm/EPYC-v4/vcpus3"])
        kinds = {type(header) for header in headers}
        contexts = {VpContext} if mode == "sev-es" else set()
        assert kinds == {SupportedPlatform, GuestPolicy, PageData} | contexts


def test_parameters_leave_the_region_they_lie_in(tmp_path: Path) -> None:
    guest = _guest(tmp_path, igvm={"parameters": True})
    data = _files(guest)["snp/qemu-igvm/EPYC-v4/vcpus1"]
    guest.measure()
    (notice,) = [n for n in guest.notices if "not portable" in n.message]
    plain = _guest(tmp_path, igvm={"parameters": False})
    plain.measure()
    assert not [n for n in plain.notices if "not portable" in n.message]
    assert "its digest in qemu differs from that in cloud-hypervisor-mshv" in notice.message
    headers = _headers(data)
    assert [h.gpa for h in headers if isinstance(h, ParameterInsert)] == [0x812000]
    assert 0x812000 not in [h.gpa for h in headers if isinstance(h, PageData)]
    assert [breach.rule for breach in portable_breaches(read_igvm(MemorySource(data)))] == ["parameter areas"]
    assert _digest(data, "qemu") == _digest(data, "igvm-reference") != _digest(data, "cloud-hypervisor-mshv")


def test_what_a_file_cannot_hold(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    guest = _guest(tmp_path / "plain", launch={"mode": "snp", "profile": "qemu"})
    with pytest.raises(SevbuildError, match="loaders differ in what a page of type ZERO is"):
        _files(guest)
    with pytest.raises(SevbuildError, match="profile qemu does not load IGVM files"):
        _guest(tmp_path, launch={"profile": "qemu"}, igvm={"parameters": True})
    (tmp_path / "svsm.bin").write_bytes(bytes(4096))
    guest = _guest(tmp_path, svsm={"path": "svsm.bin", "vars-size": 0})
    with pytest.raises(SevbuildError, match="SVSM"):
        guest.measure()
    plan = LaunchPlan("snp", 0x30000, bytes(48), (), ())
    with pytest.raises(SevbuildError, match="not a seed"):
        igvm_of_plan(plan)
    full = LaunchUpdate(0x812000, PageType.NORMAL, 4096, b"x" * 4096, "page")
    places = parameter_places((IgvmArea(0x812000, 0x1000, 0x100),))
    with pytest.raises(SevbuildError, match="lie over page, which has contents"):
        igvm_of_plan(plan._replace(seed=None, regions=(full,)), parameters=places)
    with pytest.raises(SevbuildError, match="without contents"):
        igvm_of_plan(plan._replace(seed=None, vmsas=(full._replace(data=None),)))
    huge = LaunchUpdate(0, PageType.UNMEASURED, 1 << 32, None, "huge")
    with pytest.raises(SevbuildError, match="an IGVM file cannot name that many"):
        igvm_of_plan(plan._replace(seed=None, regions=(huge._replace(gpa=1 << 33),)))


@pytest.mark.parametrize(
    ("areas", "message"),
    [
        ((), "names no pages for IGVM parameters"),
        ((IgvmArea(0x812001, 0x1000, 0x100),), "names no pages for IGVM parameters"),
        ((IgvmArea(0x812000, 0x1000, 0x100), IgvmArea(0xF00, 0x101, 0x101)), "place for the memory-map lies"),
        ((IgvmArea(0x812000, 0x1000, 0x100), IgvmArea(0x1000, 1, 0x102)), "place for the vp-count lies"),
    ],
)
def test_odd_places_for_parameters(areas: tuple[IgvmArea, ...], message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        parameter_places(areas)


def test_a_firmware_may_want_less() -> None:
    places = parameter_places((IgvmArea(0x812000, 0x2000, 0x100),))
    assert (places.memory_map, places.vp_count) == (None, None)
    plan = LaunchPlan("snp", 0x30000, None, (), ())
    file = igvm_of_plan(plan, parameters=places)
    assert isinstance(file, IgvmFile)
    assert len(list(file.headers)) == 4


def test_a_ready_file_is_measured_for_the_declared_vcpus(tmp_path: Path) -> None:
    guest = _guest(tmp_path, vcpu={"count": 2, "model": "EPYC-Milan"})
    (file,) = _files(guest).values()
    (tmp_path / "ready.igvm").write_bytes(file)
    ready = guest_of(
        tmp_path,
        launch={"mode": "snp", "profile": ["qemu-igvm", "cloud-hypervisor-mshv"]},
        igvm={"path": "ready.igvm"},
        vcpu={"count": 2, "model": "EPYC-Milan"},
    )
    measured = ready.measure()
    assert {item.digest for item in measured} == {guest.measure()[0].digest}
    assert {item.target.policy_origin for item in measured} == {FILE_ORIGIN}
    assert [record.role for record in input_records(ready, ready.targets)] == ["igvm"]
    assert any("not established" in notice.message for notice in ready.notices)
    assert lint_guest(ready) == []
    more = {"launch": {"profile": "qemu-igvm"}, "igvm": {"path": "ready.igvm"}}
    # QEMU starts a vCPU that the file does not describe in the reset state of its model.
    three = digests_of(tmp_path, **more, vcpu={"count": 3, "model": ["EPYC-v4", "EPYC-Milan"]})
    assert len(set(three.values())) == 2
    with pytest.raises(SevbuildError, match="describes vCPU 1, the launch has 1"):
        guest_of(tmp_path, **more, vcpu={"count": 1, "model": "EPYC-v4"})


def test_a_ready_file_brings_its_policy(tmp_path: Path) -> None:
    guest = _guest(tmp_path, launch={"policy": 0xB0000, "profile": "qemu-igvm"}, vcpu={"count": 1})
    (tmp_path / "ready.igvm").write_bytes(_files(guest)["snp/qemu-igvm/EPYC-v4/vcpus1"])
    tables: dict[str, Any] = {"igvm": {"path": "ready.igvm"}, "vcpu": {"count": 1}}
    (item,) = guest_of(tmp_path, launch={"profile": "qemu-igvm"}, **tables).measure()
    assert (item.target.policy, item.plan.policy) == (0xB0000, 0xB0000)
    for launch, message in (
        ({"policy": 0x30000}, "the file's policy is 0xb0000, the manifest's 0x30000"),
        ({"guest-features": 0x21}, "the file's guest features are 0x1"),
        ({"mode": "sev-es"}, "ready.igvm has no platform for mode sev-es"),
    ):
        with pytest.raises(SevbuildError, match=message):
            guest_of(tmp_path, launch={"profile": "qemu-igvm", **launch}, **tables)
    with pytest.raises(MismatchError, match=r"ready\.igvm"):
        guest_of(
            tmp_path,
            launch={"profile": "qemu-igvm"},
            vcpu={"count": 1},
            igvm={"path": "ready.igvm", "sha256": "ab" * 32},
        ).measure()


def test_a_ready_file_brings_its_features_against_those_of_the_profile_alone(tmp_path: Path) -> None:
    launch = {"guest-features": 0x21, "profile": "qemu-igvm"}
    guest = _guest(tmp_path, launch=launch, vcpu={"count": 1})
    (tmp_path / "ready.igvm").write_bytes(_files(guest)["snp/qemu-igvm/EPYC-v4/vcpus1"])
    tables: dict[str, Any] = {"igvm": {"path": "ready.igvm"}, "vcpu": {"count": 1}}
    for given_launch in ({"profile": "qemu-igvm"}, launch):
        (target,) = guest_of(tmp_path, launch=given_launch, **tables).targets
        assert (target.guest_features, target.features_origin) == (0x21, FILE_ORIGIN)


def test_a_mode_that_a_ready_file_lacks_names_those_it_has(tmp_path: Path) -> None:
    page = PageData(0x20000, 1, b"\1")
    tables: dict[str, Any] = {"igvm": {"path": "guest.igvm"}, "launch": {"profile": "qemu-igvm"}}
    for platform, hint in (
        (PlatformType.SEV_ES, "launch.mode is one of sev-es"),
        (PlatformType.NATIVE, None),
    ):
        write_file(tmp_path, SupportedPlatform(1, 0, platform), page)
        with pytest.raises(SevbuildError, match="has no platform for mode snp") as caught:
            guest_of(tmp_path, **tables)
        assert caught.value.hint == hint


def test_what_is_odd_in_a_ready_file_is_a_warning(tmp_path: Path) -> None:
    path = write_file(tmp_path, SNP, GuestPolicy(0x30000, 1), RequiredMemory(0, 1, 0x4000, 2), BSP)
    guest = guest_of(tmp_path, igvm={"path": "guest.igvm"}, launch={"profile": "qemu-igvm"})
    guest.measure()
    (notice,) = [notice for notice in guest.notices if notice.where == str(path)]
    assert (notice.level, "reserved bits of REQUIRED_MEMORY are set" in notice.message) == ("warning", True)


def test_a_ready_file_without_a_pin_is_not_read_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_file(tmp_path, SNP, GuestPolicy(0x30000, 1), PageData(0x20000, 1, b"\1"), BSP)
    tables: dict[str, Any] = {"igvm": {"path": "guest.igvm"}, "launch": {"profile": "qemu-igvm"}}
    hashed: list[str] = []
    hash_files = fs.hash_files

    def noted(paths: Sequence[str], *arguments: Any, **options: Any) -> Any:
        hashed.extend(paths)
        return hash_files(paths, *arguments, **options)

    monkeypatch.setattr(inputs, "hash_files", noted)
    (item,) = guest_of(tmp_path, **tables).measure()
    assert hashed == []
    tables["igvm"]["sha256"] = sha256(path.read_bytes()).hexdigest()
    assert guest_of(tmp_path, **tables).measure()[0].digest == item.digest
    assert hashed == [str(path)]


def test_a_kernel_beside_a_ready_file(tmp_path: Path) -> None:
    """Cloud Hypervisor writes the hash page itself; QEMU does not, so the kernel would go unmeasured."""
    guest = _guest(tmp_path, kernel={"path": "kernel", "hashes": False}, vcpu={"count": 1})
    (tmp_path / "ready.igvm").write_bytes(next(iter(_files(guest).values())))
    tables: dict[str, Any] = {
        "igvm": {"path": "ready.igvm"},
        "kernel": {"path": "kernel", "cmdline": "quiet"},
        "vcpu": {"count": 1},
    }
    one = digests_of(tmp_path, launch={"profile": "cloud-hypervisor-kvm"}, **tables)
    other = digests_of(
        tmp_path, launch={"profile": "cloud-hypervisor-kvm"}, **{**tables, "kernel": {"path": "OVMF.fd"}}
    )
    assert one != other
    with pytest.raises(SevbuildError, match="writes no kernel hashes of its own"):
        digests_of(tmp_path, launch={"profile": "qemu-igvm"}, **tables)


def test_cloud_hypervisor_writes_a_table_of_its_own(tmp_path: Path) -> None:
    """Given the kernel, it puts the hashes at 0x10c00: an OVMF with its table elsewhere is another launch."""
    (tmp_path / "kernel").write_bytes(b"kernel")
    tables: dict[str, Any] = {
        "launch": {"mode": "snp", "profile": "cloud-hypervisor-kvm"},
        "kernel": {"path": "kernel", "cmdline": "quiet"},
    }
    hashes = KernelHashes(sha256(b"kernel").digest(), sha256(b"").digest(), cmdline_digest(b"quiet"))
    loader = LOADERS["cloud-hypervisor-kvm"]
    for page, same in ((0x810000, False), (0x10000, True)):
        sections = [(0x800000, 0x3000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (page, 0x1000, 0x10)]
        image = make_firmware(size=0x4000, sections=sections, hash_table=(page + 0xC00, 0x400))
        (tmp_path / "OVMF.fd").write_bytes(image)
        guest = guest_of(tmp_path, firmware={"path": "OVMF.fd"}, **tables)
        (item,) = guest.measure()
        source = MemorySource(igvm_file(item.target, item.plan, guest.firmware(item.target.variant)))
        given = load(read_igvm(source), loader, UpdateMaker(source), LoadRequest(kernel_hashes=hashes))
        assert (LaunchTree().digest(given.plan) == item.digest) == same
        warned = [notice for notice in guest.notices if "writes its hashes at 0x10c00 too" in notice.message]
        assert [notice.level for notice in warned] == ([] if same else ["warning"])


def test_the_fixtures_through_a_manifest(tmp_path: Path) -> None:
    """The digest that the fixtures' README tables for QEMU (its model's column)."""
    path = shared_file("igvm/snp_all_v1.igvm")
    digests = digests_of(
        tmp_path, launch={"profile": "qemu-igvm"}, igvm={"path": str(path)}, vcpu={"count": 2}
    )
    (digest,) = digests.values()
    assert digest.startswith("3a43f958f3edf8051678e6f1332f60bc")


def test_debians_amdsev_build_with_a_real_kernel(tmp_path: Path) -> None:
    kernel = real_kernels()[0]
    (tmp_path / "initrd").write_bytes(b"initrd" * 1000)
    guest = guest_of(
        tmp_path,
        launch={"profile": "qemu-igvm"},
        firmware={"path": str(newest_file("usr/share/ovmf/OVMF.amdsev.fd"))},
        kernel={"path": str(kernel), "cmdline": "console=ttyS0"},
        initrd={"path": "initrd"},
        vcpu={"count": [1, 3], "model": "EPYC-Milan"},
    )
    files = _files(guest)
    for item in guest.measure():
        found = {_digest(files[item.target.label], loader) for loader in LOADERS}
        assert found == {item.digest.hex()}, item.target.label


def test_a_launch_command_of_a_file_imports_again(tmp_path: Path) -> None:
    """Exported, imported and measured: file, policy and vCPUs come back, and so does the digest."""
    _guest(tmp_path, vcpu={"count": 2, "model": "EPYC-Milan"})
    built = run("build", "-q", tmp_path / "guest.toml", "-o", tmp_path / "dist")
    assert built.status == 0, built.err
    (entry,) = json.loads((tmp_path / "dist/bundle.json").read_text())["targets"]
    command = tmp_path / "dist" / str(entry["files"]["qemu_arguments"])
    arguments = json.loads(command.read_text())
    assert "igvm-cfg,id=igvm0,file=guest.igvm" in arguments
    assert "-bios" not in arguments
    imported = run("import", command)
    assert imported.status == 0, imported.err
    (command.parent / "again.toml").write_text(imported.out)
    again = run("measure", "-q", command.parent / "again.toml")
    assert again.out == built.out, again.err
    # Its own file is what the imported manifest launches.
    assert "guest.igvm" in run("qemu-args", "-q", "-f", "json", command.parent / "again.toml").out


@pytest.mark.parametrize("inputs", [[], ["--no-copy"], ["--link"]])
@pytest.mark.parametrize("kind", ["built", "parameters", "ready"])
def test_bundles_of_files_verify(tmp_path: Path, kind: str, inputs: list[str]) -> None:
    tables: dict[str, Any] = {"igvm": {"parameters": True}} if kind == "parameters" else {}
    guest = _guest(tmp_path, vcpu={"count": [1, 2], "model": ["EPYC-v4", "EPYC-Milan"]}, **tables)
    if kind == "ready":
        (tmp_path / "ready.igvm").write_bytes(_files(guest)["snp/qemu-igvm/EPYC-v4/vcpus1"])
        guest_of(
            tmp_path,
            launch={"profile": "qemu-igvm"},
            igvm={"path": "ready.igvm"},
            vcpu={"count": 1, "model": ["EPYC-v4", "EPYC-Milan"]},
        )
    dist = tmp_path / "dist"
    built = run("build", "-q", tmp_path / "guest.toml", "-o", dist, *inputs)
    assert built.status == 0, built.err
    assert built.out == run("measure", "-q", tmp_path / "guest.toml").out
    checked = run("verify", dist)
    assert (checked.status, "consistent" in checked.out) == (0, True), checked.err
    files = sorted(path.relative_to(dist).as_posix() for path in dist.rglob("*.igvm"))
    # The models share their files; a ready one stands among the inputs, whatever is left out.
    assert len(files) == (1 if kind == "ready" else 2)
    (dist / files[0]).write_bytes(b"another")
    spoilt = run("verify", dist)
    assert spoilt.status == 1
    assert files[0] in spoilt.err
