"""A near miss: one setting of a launch that could be another, why, and what to write for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from sevbuild.diagnose.setup import Setup
from sevbuild.launch.region_data import Contents

__all__ = ["AXES", "SEEN", "Change", "Edit", "HostFacts", "Material", "Start", "Touches"]

AXES = (
    "mode",
    "order",
    "profile",
    "loader",
    "firmware",
    "sections",
    "page-types",
    "svsm",
    "kernel-hashes",
    "kernel",
    "initrd",
    "cmdline",
    "vcpus",
    "cpu",
    "guest-features",
    "registers",
    "entry",
    "measured-vcpus",
    "vmsa-gpa",
)
"""What can be otherwise; two changes of one axis exclude each other."""

SEEN = 10_000
"""Changes of a weight below it were seen in the wild; the others are swept, for what nobody reported yet."""

Touches = Literal["body", "tail", "both"]
"""What of a launch a change can alter: what comes before the VMSAs, the VMSAs, or both."""


class Edit(NamedTuple):
    """What to write in a manifest: a dotted key, and its value as TOML; None where the key goes away.

    One that takes away a key which the manifest has not says nothing, nor one with the value that is there.
    Of several changes together they are made in the order of AXES: the last one to name a key is right.
    """

    key: str
    value: str | None


class Change(NamedTuple):
    """One setting otherwise.

    `apply` returns the setup with it, an equal one where it has no effect, and raises SevbuildError where
    nothing can be launched so. `says` ends a sentence ("the launch that was measured has ..."); `source` says
    from where it is known that launches differ in this. A lower `weight` is likelier. `edits` are what a
    manifest would say, empty where none can.
    """

    axis: str
    value: str
    touches: Touches
    apply: Callable[[Setup], Setup]
    says: str
    source: str
    weight: int
    edits: tuple[Edit, ...] = ()


class HostFacts(NamedTuple):
    """What an attestation report says of the host and the launch; None for what it does not."""

    signature: int | None = None
    policy: int | None = None
    vmpl: int | None = None
    firmware: tuple[int, int, int] | None = None
    host_data: bytes | None = None


class Material(NamedTuple):
    """What is at hand of a start beyond digests, for rules that change bytes; None for what is not.

    `cmdline` is the command line as measured, without the NUL. `kernel` and each of `initrd` (its parts, as
    they are concatenated) give their bytes when asked. `dtb` is what was given to be appended.
    `counted_cmdline` gives the command line of another number of vCPUs, None where that is the same one;
    `cmdline_key` is the key of a manifest that has it, None where an image has it. `initrd_names` are the
    files of `initrd` as a manifest names them. `image` is the whole unified kernel image where `kernel` and
    `initrd` are parts of it.
    """

    cmdline: bytes | None = None
    kernel: Callable[[], Contents] | None = None
    initrd: tuple[Callable[[], Contents], ...] = ()
    firmware: bytes | None = None
    dtb: bytes | None = None
    counted_cmdline: Callable[[int], bytes] | None = None
    cmdline_key: str | None = "kernel.cmdline"
    initrd_names: tuple[str, ...] = ()
    image: Callable[[], Contents] | None = None


class Start(NamedTuple):
    """A launch to start from: a target of the guest, its setup and its launch digest.

    `where` gives FILE:LINE of a manifest's key, None where no manifest is behind it.
    """

    label: str
    setup: Setup
    digest: bytes
    material: Material = Material()
    host: HostFacts = HostFacts()
    where: Callable[[str], str] | None = None
