"""The QEMU argument list of a launch."""

from __future__ import annotations

from base64 import b64encode
from typing import NamedTuple

from sevbuild.commands.launch import Launch
from sevbuild.text import decode_text

__all__ = [
    "CONSOLE",
    "GUEST_ID",
    "IGVM_ID",
    "HostValue",
    "Option",
    "escaped",
    "guest_properties",
    "qemu_options",
    "resolve",
]

GUEST_ID = "sev0"
IGVM_ID = "igvm0"
MEMORY_ID = "ram0"

CONSOLE = ("-nographic", "-no-reboot")
"""The guest's serial port and QEMU's monitor on the terminal; neither is measured."""


class HostValue(NamedTuple):
    """What the host must supply: the shell variable that overrides it, and the default."""

    name: str
    default: str


Piece = str | HostValue
Option = tuple[str, tuple[Piece, ...]]
"""An option and the pieces of its value, none for a flag; an option "" is an argument as it stands."""


def qemu_options(launch: Launch) -> list[Option]:
    """Return the options after the program's name, in a fixed order, extra arguments last.

    The machine is q35 and the accelerator KVM. vCPUs are `-smp N` alone, so all of them are present: only
    present ones are measured. SNP memory is shared memfd, as private guest memory wants.
    """
    machine = f"q35,confidential-guest-support={GUEST_ID}"
    memory = HostValue("MEMORY", launch.machine.memory)
    if launch.mode == "snp":
        machine += f",memory-backend={MEMORY_ID}"
    if launch.igvm:
        machine += f",igvm-cfg={IGVM_ID}"
    options: list[Option] = [
        ("-machine", (machine,)),
        ("-accel", ("kvm",)),
        ("-cpu", (launch.cpu,)),
        ("-smp", (str(launch.vcpus),)),
        ("-m", (memory,)),
    ]
    if launch.mode == "snp":
        options.append(("-object", (f"memory-backend-memfd,id={MEMORY_ID},size=", memory, ",share=true")))
    if launch.igvm:
        options.append(("-object", (f"igvm-cfg,id={IGVM_ID},file={escaped(launch.files['igvm'])}",)))
    options.append(("-object", _guest_object(launch)))
    if not launch.igvm:
        options.append(("-bios", (launch.files["firmware"],)))
    if launch.cmdline is not None:
        options.append(("-kernel", (launch.files["kernel"],)))
        if "initrd" in launch.files:
            options.append(("-initrd", (launch.files["initrd"],)))
        if launch.cmdline:
            options.append(("-append", (decode_text(launch.cmdline),)))
    options += [(flag, ()) for flag in CONSOLE]
    options += [("", (argument,)) for argument in launch.machine.extra_args]
    return options


def guest_properties(launch: Launch) -> list[tuple[str, Piece]]:
    """Return the properties of the confidential-guest object, its type and id left out.

    QEMU 10.2 qapi/qom.json: SevCommonProperties, SevGuestProperties, SevSnpGuestProperties. With an IGVM
    file the policy is given again, for QEMU starts the launch before it reads the file's, and kernel hashes
    are off, for no firmware table says where they go: they are in the file.
    """
    properties: list[tuple[str, Piece]] = [
        ("cbitpos", HostValue("CBITPOS", str(launch.machine.cbitpos))),
        ("reduced-phys-bits", HostValue("REDUCED_PHYS_BITS", str(launch.machine.reduced_phys_bits))),
        ("policy", f"{launch.policy:#x}"),
    ]
    if launch.igvm or launch.cmdline is not None:
        properties.append(("kernel-hashes", "on" if launch.kernel_hashes else "off"))
    if launch.host_data is not None:
        properties.append(("host-data", b64encode(launch.host_data).decode()))
    if launch.id_block is not None:
        from sevbuild.commands.id_block import qemu_properties

        properties += qemu_properties(launch.id_block)
    return properties + [(name, escaped(value)) for name, value in sorted(launch.properties.items())]


def _guest_object(launch: Launch) -> tuple[Piece, ...]:
    kind = "sev-snp-guest" if launch.mode == "snp" else "sev-guest"
    pieces: list[Piece] = [f"{kind},id={GUEST_ID}"]
    for name, value in guest_properties(launch):
        pieces += [f",{name}=", value]
    return tuple(pieces)


def escaped(value: str) -> str:
    """Return a value as QEMU's comma-separated options take it: a comma is written twice."""
    return value.replace(",", ",,")


def resolve(options: list[Option]) -> list[str]:
    """Return the arguments with the host's values at their defaults."""
    arguments = []
    for option, pieces in options:
        if option:
            arguments.append(option)
        if pieces:
            arguments.append("".join(piece if isinstance(piece, str) else piece.default for piece in pieces))
    return arguments
