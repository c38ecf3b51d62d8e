"""Random guests, measured by sev-snp-measure and by us: equal in every mode and hypervisor it has."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sevbuild.vcpu.models import CPU_MODELS
from tests.support.firmware import make_firmware, section_tables
from tests.support.guests import digest_of, digests_of
from tests.support.peer import peer_digest

LAUNCHES = [
    ("snp", "qemu", "QEMU"),
    ("snp", "ec2", "ec2"),
    ("snp", "gce", "gce"),
    ("sev-es", "qemu-es-init2", "QEMU"),
    ("sev", "qemu", "QEMU"),
]


class RandomGuest(NamedTuple):
    """Hold the drawn parts of a guest; `kernel` None boots the firmware alone."""

    firmware: bytes
    kernel: bytes | None
    initrd: bytes | None
    cmdline: str
    signature: int
    vcpus: int
    features: int


@st.composite
def random_guests(draw: st.DrawFn) -> RandomGuest:
    """Draw a guest that every launch can express."""
    # One page each of secrets and CPUID: of more the peer launches one (see test_peer_differences).
    table = draw(section_tables())
    page = next(gpa for gpa, _, kind in table if kind == 0x10)
    offset = draw(st.integers(0, (0x1000 - 176) // 16)) * 16
    pages = draw(st.lists(st.sampled_from([0x00, 0xFF, None]), min_size=2, max_size=8))
    noise = draw(st.randoms(use_true_random=False))
    fill = b"".join(noise.randbytes(4096) if byte is None else bytes([byte]) * 4096 for byte in pages)
    firmware = make_firmware(
        size=len(fill),
        sections=table,
        reset=draw(st.integers(1, 0xFFFFFFFF)),
        hash_table=(page + offset, 0x400),
        fill=fill,
    )
    kernel = draw(st.none() | st.binary(max_size=100))
    return RandomGuest(
        firmware=firmware,
        kernel=kernel,
        initrd=None if kernel is None else draw(st.none() | st.binary(max_size=100)),
        cmdline="" if kernel is None else draw(_cmdlines),
        signature=draw(
            st.sampled_from([model.signature for model in CPU_MODELS.values()]) | st.integers(0, 0xFFFFFFFF)
        ),
        vcpus=draw(st.integers(1, 9)),
        features=draw(st.integers(0, 0x3FFFFF)),
    )


_cmdlines = st.text(st.characters(exclude_characters="\0{}", exclude_categories=["Cs"]), max_size=60)


def _write(folder: Path, guest: RandomGuest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the files of a guest; return the manifest's tables and the peer's arguments."""
    (folder / "OVMF.fd").write_bytes(guest.firmware)
    tables: dict[str, Any] = {
        "firmware": {"path": "OVMF.fd"},
        "vcpu": {"model": None, "signature": guest.signature, "count": guest.vcpus},
    }
    arguments: dict[str, Any] = {"signature": guest.signature, "vcpus": guest.vcpus}
    if guest.kernel is not None:
        (folder / "kernel").write_bytes(guest.kernel)
        tables["kernel"] = {"path": "kernel", "cmdline": guest.cmdline}
        arguments |= {"kernel": "kernel", "append": guest.cmdline}
    if guest.initrd is not None:
        (folder / "initrd").write_bytes(guest.initrd)
        tables["initrd"] = {"path": "initrd"}
        arguments["initrd"] = "initrd"
    return tables, arguments


@pytest.mark.parametrize(("mode", "profile", "vmm"), LAUNCHES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(guest=random_guests())
def test_the_peer_agrees_on_random_guests(mode: str, profile: str, vmm: str, guest: RandomGuest) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables, arguments = _write(folder, guest)
        tables["launch"] = {"mode": mode, "profile": profile}
        if mode == "snp":
            tables["launch"]["guest-features"] = guest.features
            arguments["features"] = guest.features
        assert digest_of(folder, **tables) == peer_digest(folder, mode, vmm=vmm, **arguments)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(guest=random_guests(), counts=st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True))
def test_a_matrix_is_what_its_targets_are_alone(guest: RandomGuest, counts: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables, _ = _write(folder, guest)
        tables["launch"] = {"mode": ["sev", "sev-es", "snp"], "profile": "qemu"}
        tables["vcpu"]["count"] = list(counts)
        together = digests_of(folder, **tables)
        alone: dict[str, str] = {}
        for mode in tables["launch"]["mode"]:
            for count in counts:
                single = {
                    **tables,
                    "launch": {"mode": mode, "profile": "qemu"},
                    "vcpu": {**tables["vcpu"], "count": count},
                }
                alone |= digests_of(folder, **single)
        assert together == alone
