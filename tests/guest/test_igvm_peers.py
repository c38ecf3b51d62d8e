"""IGVM files, ours and drawn ones, read and measured by other programs, where they are (docs/peers.md)."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings

from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.igvm import igvm_file
from sevbuild.igvm.file import IgvmFile
from sevbuild.igvm.headers import CcaPolicy, CorimData, ErrorRange, PlatformType, UnknownHeader
from sevbuild.igvm.load import load
from sevbuild.igvm.loaded import LoadRequest
from sevbuild.igvm.loaders import LOADERS
from sevbuild.igvm.pages import UpdateMaker
from sevbuild.igvm.platforms import file_modes
from sevbuild.igvm.reader import read_igvm
from sevbuild.igvm.source import MemorySource
from sevbuild.igvm.writer import write_igvm
from sevbuild.launch.mode import Mode
from sevbuild.launch.status import LaunchError
from sevbuild.measure.tree import LaunchTree
from tests.support.firmware import make_firmware
from tests.support.guests import guest_of
from tests.support.igvm import igvm_files
from tests.support.real import peer_program

SECTIONS = [(0x800000, 0x3000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]


def _guest(folder: Path, mode: str) -> Guest:
    image = make_firmware(size=0x10000, sections=SECTIONS, hash_table=(0x810C00, 0x400), fill=b"firmware")
    (folder / "OVMF.fd").write_bytes(image)
    (folder / "kernel").write_bytes(b"kernel")
    return guest_of(
        folder,
        launch={"mode": mode, "profile": "qemu-igvm"},
        firmware={"path": "OVMF.fd"},
        kernel={"path": "kernel", "cmdline": "quiet"},
        vcpu={"count": [1, 3], "model": "EPYC-Milan"},
    )


def _call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("mode", "platform"), [("snp", "sev-snp"), ("sev-es", "sev-es"), ("sev", "sev")])
def test_igvmmeasure_has_our_digest(tmp_path: Path, mode: str, platform: str) -> None:
    program = peer_program("igvmmeasure")
    guest = _guest(tmp_path, mode)
    for item in guest.measure():
        path = tmp_path / "guest.igvm"
        path.write_bytes(
            igvm_file(item.target, guest.laid_out(item.target), guest.firmware(item.target.variant))
        )
        said = _call(program, "--platform", platform, str(path), "measure", "--bare")
        assert said.strip().lower() == item.digest.hex(), item.target.label


@pytest.mark.parametrize("mode", ["snp", "sev-es", "sev"])
def test_the_igvm_crate_reads_our_files(tmp_path: Path, mode: str) -> None:
    """`igvm-inspect` of virtfw-igvm-tools reads with the igvm crate, which QEMU reads with as well."""
    program = peer_program("igvm-inspect")
    guest = _guest(tmp_path, mode)
    for target in guest.targets:
        path = tmp_path / "guest.igvm"
        path.write_bytes(igvm_file(target, guest.laid_out(target), guest.firmware(target.variant)))
        said = _call(program, str(path))
        assert f"platform: {mode.upper().replace('-', '_').replace('SNP', 'SEV_SNP')}" in said
        assert "PageData: gpa 0x810000, type NORMAL" in said
        assert said.count("VpContext") == (0 if mode == "sev" else target.vcpus)


PLATFORMS = {"snp": "sev-snp", "sev-es": "sev-es", "sev": "sev"}
DATA = Path(__file__).resolve().parents[1] / "data" / "igvm"


def _asked(program: str, loader: str, mode: str, path: Path) -> tuple[str | None, str]:
    """Return the digest that igvmmeasure prints, or None, and what it says."""
    flags = ["--native-zero"] if loader.endswith("native-zero") else []
    command = [
        program,
        "--platform",
        PLATFORMS[mode],
        *flags,
        str(path),
        "measure",
        "--ignore-idblock",
        "--bare",
    ]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    return (result.stdout.strip().lower() if result.returncode == 0 else None), result.stderr.strip()


def test_the_recorded_digests_are_still_the_programs() -> None:
    program = peer_program("igvmmeasure")
    for name, modes in json.loads((DATA / "digests.json").read_text()).items():
        for mode, digests in modes.items():
            for loader in sorted(set(digests) - {"igvm-reference"}):
                assert _asked(program, loader, mode, DATA / name)[0] == digests[loader], (name, mode)


def test_drawn_files_of_several_platforms_against_igvmmeasure(tmp_path: Path) -> None:
    """No digest differs; what is refused on one side alone is what that side is known to refuse."""
    program = peer_program("igvmmeasure")
    path = tmp_path / "drawn.igvm"
    outcomes: Counter[str] = Counter()

    @settings(max_examples=300, deadline=None, derandomize=True, database=None)
    @given(igvm_files())
    def compare(drawn: IgvmFile) -> None:
        path.write_bytes(write_igvm(drawn))
        source = MemorySource(path.read_bytes())
        file, maker = read_igvm(source), UpdateMaker(source)
        for mode in file_modes(file):
            for loader in ("igvmmeasure", "igvmmeasure-native-zero")[: 2 if mode == "snp" else 1]:
                theirs, said = _asked(program, loader, mode, path)
                ours, reason = _ours(file, loader, maker, mode)
                if ours is None:
                    # The processor's reasons are none of theirs.
                    assert theirs is None or isinstance(reason, LaunchError), (loader, mode, reason)
                elif theirs is None:
                    assert _not_implemented(file), (loader, mode, said)
                else:
                    assert ours == theirs, (loader, mode)
                    outcomes["equal"] += 1
                outcomes["all"] += 1

    compare()
    assert outcomes["equal"] >= 40, outcomes


def _ours(
    file: IgvmFile, loader: str, maker: UpdateMaker, mode: Mode
) -> tuple[str | None, SevbuildError | None]:
    try:
        plan = load(file, LOADERS[loader], maker, LoadRequest(mode)).plan
        return LaunchTree().digest(plan).hex(), None
    except SevbuildError as error:
        return None, error


def _not_implemented(file: IgvmFile) -> bool:
    """Tell whether a file has what the igvm crate of igvmmeasure does not read.

    Optional headers, CoRIM, CCA, and contexts of VSM platforms whose registers it does not know by name
    (microsoft/igvm e6c3ff1c and 0.4.0, igvm/src/lib.rs).
    """
    headers = {type(header) for header in file.headers}
    kinds = {platform.platform_type for platform in file.platforms}
    beyond = kinds & {PlatformType.VSM_ISOLATION, PlatformType.CCA}
    return bool(beyond or headers & {UnknownHeader, CorimData, CcaPolicy, ErrorRange})
