"""Starts and simple changes for tests of the search, over firmware of our own."""

from __future__ import annotations

from collections.abc import Callable

from sevbuild.diagnose.change import Change, Start, Touches
from sevbuild.diagnose.setup import LaidOut, Setup
from sevbuild.errors import SevbuildError
from sevbuild.image.kernel_hashes import KernelHashes, cmdline_digest
from sevbuild.image.ovmf import Firmware, parse_firmware
from sevbuild.launch.mode import Mode
from sevbuild.launch.planner import GuestInputs, LaunchShape, Planner
from sevbuild.manifest.profiles import load_profile
from sevbuild.measure.tree import LaunchTree
from tests.support.firmware import standard_firmware

__all__ = ["FIRMWARES", "changes_of", "digest_of", "laid_out", "many_changes", "policy_of", "start_of"]

FIRMWARES = {
    name: parse_firmware(standard_firmware(size=0x80000, fill=name.encode())) for name in ("one", "other")
}
SIGNATURES = (0x800F12, 0x830F10, 0xA00F11, 0xA10F10, 0xB00F00, 0)
FEATURES = (0x0, 0x1, 0x20, 0x21, 0x201)
CMDLINES = (b"console=ttyS0", b"console=ttyS0 ", b"quiet", b"quiet nr_cpus=2")
PROFILES = {name: load_profile(name) for name in ("qemu", "qemu-snp-legacy-fpu", "ec2-rdx0", "gce")}


def start_of(
    mode: Mode = "snp",
    *,
    vcpus: int = 1,
    signature: int = 0x800F12,
    guest_features: int = 1,
    profile: str = "qemu",
    cmdline: bytes | None = CMDLINES[0],
    firmware: Firmware | None = None,
    label: str = "start",
) -> Start:
    """Return a launch to start from, with its digest."""
    kernel = None if cmdline is None else KernelHashes(b"k" * 32, b"i" * 32, cmdline_digest(cmdline))
    chosen = PROFILES[profile]
    inputs = GuestInputs(FIRMWARES["one"] if firmware is None else firmware, None, kernel)
    policy = {"snp": 0x30000, "sev-es": 5, "sev": 1}[mode]
    shape = LaunchShape(
        mode, chosen.rules.launch, "profile", policy, vcpus, signature, guest_features if mode == "snp" else 0
    )
    setup = LaidOut(inputs, shape, chosen)
    return Start(label, setup, digest_of(setup))


def digest_of(setup: Setup) -> bytes:
    """Return the launch digest of a setup."""
    return LaunchTree().digest(setup.plan(Planner()))


def laid_out(setup: Setup) -> LaidOut:
    """Return a setup as the one kind of these tests."""
    assert isinstance(setup, LaidOut)
    return setup


def changes_of(start: Start) -> list[Change]:
    """Return simple changes of every kind, with weights from 1 on."""
    del start
    found = [_shape("cpu", f"{value:#x}", signature=value) for value in SIGNATURES]
    found += [_shape("guest-features", f"{value:#x}", guest_features=value) for value in FEATURES]
    found += [_profile(name) for name in PROFILES]
    found += [_change("firmware", name, "both", _with_firmware(name)) for name in FIRMWARES]
    found += [_change("cmdline", line.decode(), "body", _with_cmdline(line)) for line in CMDLINES]
    found.append(_change("kernel-hashes", "off", "body", _without_kernel))
    return [change._replace(weight=number // 3 + 1) for number, change in enumerate(found)]


def many_changes(number: int) -> list[Change]:
    """Return so many CPUs, features and command lines each; three of them are a launch of their own."""
    found = [_shape("cpu", str(value), signature=0x900F00 + value) for value in range(number)]
    found += [_shape("guest-features", str(value), guest_features=0x100 + value) for value in range(number)]
    found += [_change("cmdline", str(value), "body", _with_cmdline(b"%d" % value)) for value in range(number)]
    return found


def policy_of(policy: int) -> Callable[[Setup], Setup]:
    """Return what gives a setup another policy, which enters no digest."""

    def apply(setup: Setup) -> Setup:
        own = laid_out(setup)
        return own._replace(shape=own.shape._replace(policy=policy))

    return apply


def _change(axis: str, value: str, touches: Touches, apply: Callable[[Setup], Setup]) -> Change:
    return Change(axis, value, touches, apply, f"{axis} {value}", "a test", 1)


def _shape(axis: str, value: str, **fields: int) -> Change:
    def apply(setup: Setup) -> Setup:
        own = laid_out(setup)
        return own._replace(shape=own.shape._replace(**fields))  # type: ignore[arg-type]

    return _change(axis, value, "tail", apply)


def _profile(name: str) -> Change:
    profile = PROFILES[name]

    def apply(setup: Setup) -> Setup:
        own = laid_out(setup)
        return own._replace(profile=profile, shape=own.shape._replace(launch=profile.rules.launch))

    return _change("profile", name, "both", apply)


def _with_firmware(name: str) -> Callable[[Setup], Setup]:
    def apply(setup: Setup) -> Setup:
        own = laid_out(setup)
        return own._replace(inputs=own.inputs._replace(firmware=FIRMWARES[name]))

    return apply


def _with_cmdline(line: bytes) -> Callable[[Setup], Setup]:
    def apply(setup: Setup) -> Setup:
        own = laid_out(setup)
        if own.inputs.kernel_hashes is None:
            raise SevbuildError("there is no kernel")
        hashes = own.inputs.kernel_hashes._replace(cmdline=cmdline_digest(line))
        return own._replace(inputs=own.inputs._replace(kernel_hashes=hashes))

    return apply


def _without_kernel(setup: Setup) -> Setup:
    own = laid_out(setup)
    return own._replace(inputs=own.inputs._replace(kernel_hashes=None))
