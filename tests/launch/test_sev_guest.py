"""The model of the SEV and SEV-ES launch commands."""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256
from typing import Any

import pytest

from sevbuild.image.kernel_hashes import KernelHashes, cmdline_digest, hash_table
from sevbuild.launch.page_type import PageType
from sevbuild.launch.sev_guest import SevGuest, SevGuestState, SevPlatform, launch_measurement
from sevbuild.launch.status import LaunchError, Status
from sevbuild.launch.update import LaunchUpdate
from tests.support.shared import VECTORS, shared_file

DATA = LaunchUpdate(0xFFFF0000, PageType.NORMAL, 32, b"firmware" * 4, "firmware")
VMSA = LaunchUpdate(0xFFFFFFFFF000, PageType.VMSA, 4096, bytes(4096), "vmsa 0")


def started(policy: int = 0x5) -> SevGuest:
    """Return a guest in LUPDATE."""
    guest = SevGuest()
    guest.launch_start(policy)
    return guest


def test_the_digest_is_over_plain_bytes_in_call_order() -> None:
    guest = started()
    guest.launch_update(DATA)
    guest.launch_update(VMSA)
    assert guest.launch_digest == sha256(b"firmware" * 4 + bytes(4096)).digest()
    moved = started()
    moved.launch_update(DATA._replace(gpa=0))
    moved.launch_update(VMSA)
    assert moved.launch_digest == guest.launch_digest


def test_a_launch_from_start_to_finish() -> None:
    guest = started(0x1)
    guest.launch_update_data(DATA)
    digest = guest.launch_digest
    with pytest.raises(LaunchError) as caught:
        guest.launch_finish()
    assert caught.value.status == Status.INVALID_GUEST_STATE
    measurement = guest.launch_measure(b"t" * 16, b"n" * 16)
    message = bytes((4, 1, 55, 0)) + (1).to_bytes(4, "little") + digest + b"n" * 16
    assert measurement == hmac.digest(b"t" * 16, message, "sha256")
    assert guest.state == SevGuestState.LSECRET
    for call in (
        lambda: guest.launch_update(DATA),
        lambda: guest.launch_measure(b"", b""),
        lambda: guest.launch_start(1),
    ):
        with pytest.raises(LaunchError) as caught:
            call()
        assert caught.value.status == Status.INVALID_GUEST_STATE
    assert guest.launch_finish() == digest
    assert guest.fork().state == SevGuestState.RUNNING


@pytest.mark.parametrize(
    ("platform", "policy", "session", "status"),
    [
        (SevPlatform(initialized=False), 0x1, True, Status.INVALID_PLATFORM_STATE),
        (SevPlatform(es_enabled=False), 0x5, False, Status.UNSUPPORTED),
        (SevPlatform(api_minor=30), 0x1F010001, True, Status.POLICY_FAILURE),
        (SevPlatform(), 0x41, True, Status.POLICY_FAILURE),
    ],
)
def test_starts_that_are_refused(platform: SevPlatform, policy: int, session: bool, status: Status) -> None:
    guest = SevGuest(platform)
    with pytest.raises(LaunchError) as caught:
        guest.launch_start(policy, open_session=(lambda: None) if session else None)
    assert caught.value.status == status
    assert guest.state == SevGuestState.UNINIT


def test_without_a_session_the_firmware_checks_no_policy() -> None:
    SevGuest(SevPlatform(api_minor=30)).launch_start(0x1F010041)
    SevGuest().launch_start(0x37010001, open_session=lambda: None)


@pytest.mark.parametrize(
    ("update", "status"),
    [
        (DATA._replace(gpa=8), Status.INVALID_ADDRESS),
        (DATA._replace(length=0), Status.INVALID_LEN),
        (DATA._replace(length=-16), Status.INVALID_LEN),
        (DATA._replace(length=24), Status.INVALID_LEN),
        (DATA._replace(length=48), Status.INVALID_PARAM),
        (DATA._replace(data=None), Status.INVALID_PARAM),
        (VMSA._replace(length=4080), Status.INVALID_LEN),
    ],
)
def test_updates_that_are_refused_change_nothing(update: LaunchUpdate, status: Status) -> None:
    guest = started()
    before = guest.launch_digest
    with pytest.raises(LaunchError) as caught:
        guest.launch_update(update)
    assert caught.value.status == status
    assert guest.launch_digest == before


def test_a_plain_sev_guest_has_no_vmsa() -> None:
    with pytest.raises(LaunchError) as caught:
        started(0x1).launch_update(VMSA)
    assert caught.value.status == Status.UNSUPPORTED


def test_the_length_of_a_vmsa_is_checked_before_the_platform() -> None:
    guest = SevGuest(SevPlatform(initialized=False))
    for update, status in (
        (VMSA._replace(length=16), Status.INVALID_LEN),
        (VMSA, Status.INVALID_PLATFORM_STATE),
    ):
        with pytest.raises(LaunchError) as caught:
            guest.launch_update(update)
        assert caught.value.status == status


def test_a_fork_goes_its_own_way() -> None:
    guest = started(0x1)
    twin = guest.fork(policy=0x5)
    twin.launch_update(DATA)
    twin.launch_update(VMSA)
    assert guest.launch_digest == sha256().digest()
    assert guest.fork().state == SevGuestState.LUPDATE


def _vectors() -> list[Any]:
    path = VECTORS / "firmware" / "vectors.json"
    if not path.exists():
        return [
            pytest.param(
                None, id="absent", marks=pytest.mark.skip(reason=f"no third-party vectors at {VECTORS}")
            )
        ]
    vectors = json.loads(path.read_text())["vectors"]
    return [pytest.param(vector, id=vector["id"]) for vector in vectors if vector["kind"] == "sev-measure"]


@pytest.mark.parametrize("vector", _vectors())
def test_measurements_are_those_of_sevctl(vector: dict[str, Any]) -> None:
    """The 48-byte LAUNCH_MEASURE blobs of virtee/sevctl's tests: measurement, then nonce."""
    folder = "launch-abi/sevctl"
    blob = base64.b64decode(vector["expected"])
    platform = SevPlatform(
        api_major=vector["api_major"], api_minor=vector["api_minor"], build_id=vector["build"]
    )
    guest = SevGuest(platform)
    guest.launch_start(vector["policy"])
    image = shared_file(f"{folder}/OVMF.amdsev.fd_trimmed_edk2-ovmf-20220126gitbb1bba3d77-4.el9").read_bytes()
    guest.launch_update(LaunchUpdate(0xFFFFF000, PageType.NORMAL, len(image), image, "firmware"))
    if vector.get("kernel_files"):
        hashes = KernelHashes(
            kernel=sha256(shared_file(f"{folder}/measurement/vmlinuz-fake").read_bytes()).digest(),
            initrd=sha256(shared_file(f"{folder}/measurement/initrd-fake").read_bytes()).digest(),
            cmdline=cmdline_digest(vector["append"].encode()),
        )
        table = hash_table(hashes)
        guest.launch_update(LaunchUpdate(0x80CC00, PageType.NORMAL, len(table), table, "kernel-hashes"))
    for vcpu in range(vector.get("vcpus", 0)):
        page = shared_file(f"{folder}/vmsa{min(vcpu, 1)}.bin").read_bytes()
        guest.launch_update(VMSA._replace(data=page))
    tik = shared_file(f"{folder}/measurement/tik1.bin").read_bytes()
    assert guest.launch_measure(tik, blob[32:]) == blob[:32]


@pytest.mark.parametrize(
    ("api", "head"), [((0, 16), b""), ((0, 17), bytes((4, 0, 17, 9))), ((1, 0), bytes((4, 1, 0, 9)))]
)
def test_the_firmware_is_vouched_for_from_api_0_17_on(api: tuple[int, int], head: bytes) -> None:
    platform = SevPlatform(api_major=api[0], api_minor=api[1], build_id=9)
    tik, digest, nonce = bytes(range(16)), bytes(range(32)), bytes(range(50, 66))
    message = head + (5).to_bytes(4, "little") + digest + nonce
    assert launch_measurement(tik, platform, 5, digest, nonce) == hmac.digest(tik, message, "sha256")
