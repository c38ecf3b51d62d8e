"""Which QEMU options may go with a launch: those that cannot say anything that is measured."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from sevbuild.errors import SevbuildError
from sevbuild.manifest.qemu_options import global_property, machine_properties, properties, qemu_pairs

__all__ = [
    "EXTRA_HINT",
    "EXTRA_OPTIONS",
    "EXTRA_RULES",
    "MACHINE_PROPERTIES",
    "OWN_OPTIONS",
    "refusal",
    "refused_arguments",
]

EXTRA_HINT = "launch.sh passes its own arguments on to QEMU: give it there, where nothing is promised"

OWN_OPTIONS = (
    "accel", "append", "bios", "cpu", "dtb", "enable-kvm", "initrd", "kernel", "m", "pflash", "shim", "smp",
)  # fmt: skip
"""QEMU options that a launch command writes from the target; a second one would contradict the digest."""

EXTRA_OPTIONS = frozenset(
    [
        # The process on the host, and how it is watched.
        "S", "action", "add-fd", "compat", "daemonize", "msg", "name", "no-reboot", "no-shutdown",
        "no-user-config", "nodefaults", "only-migratable", "overcommit", "pidfile", "sandbox",
        # Consoles, monitors and screens.
        "chardev", "debugcon", "display", "echr", "full-screen", "k", "mon", "monitor", "nographic", "parallel",
        "qmp", "qmp-pretty", "serial", "spice", "vga", "vnc",
        # Disks, networks and other devices by shorthand; what firmware tells of the machine.
        "acpitable", "audio", "audiodev", "blockdev", "boot", "cdrom", "fda", "fdb", "fsdev", "hda", "hdb", "hdc",
        "hdd", "iscsi", "net", "netdev", "nic", "numa", "rtc", "smbios", "snapshot", "tpmdev", "usb", "usbdevice",
        "uuid", "virtfs", "watchdog-action",
    ]
)  # fmt: skip
"""Options that reach neither firmware, kernel, vCPUs nor the launch (QEMU 7.2 to 10.2 qemu-options.hx).

Every name is of QEMU 7.2 and 10.0 alike, and takes a value or none as `FLAGS` says.
"""

_DEVICES = re.compile(
    r"(virtio|vhost|vfio|usb|scsi|ide|pcie|pci|hda|ich9|tpm|ivshmem|isa-ipmi|vmware|cxl|nvme)-[A-Za-z0-9-]+"
    r"|pci(-serial)?|e1000e?|e1000-[0-9a-z]+|nvme|igb|igbvf|rtl8139|vmxnet3|pcnet|pvscsi|megasas(-gen2)?|mptsas1068"
    r"|lsi53c8(10|95a)|ahci|ich9-ahci|sd-card|sdhci-pci|floppy|isa-fdc|isa-(serial|parallel|debugcon|debug-exit)"
    r"|virtconsole|virtserialport|qemu-xhci|nec-usb-xhci|intel-hda|AC97|VGA|secondary-vga|bochs-display|cirrus-vga"
    r"|qxl(-vga)?|ramfb|ioh3420|x3130-upstream|xio3130-downstream|i82801b11-bridge|pxb(-pcie|-cxl)?"
    r"|pvpanic(-pci)?|vmgenid|vmcoreinfo|i6300esb|ib700|pc-dimm|nvdimm|intel-iommu|amd-iommu|ccid-card-[a-z]+"
)
"""Types of devices that are plugged in: no CPU, no loader of memory, no flash (`-device help` lists them)."""

_SHOWN = 200
"""Characters of a value that a complaint repeats."""

_BOARD = ("ICH9-LPC", "PIIX4_PM", "kvm-pit", "mc146818rtc", "mch", "q35-pcihost", "isa-fdc")
"""Devices of the board itself whose properties management software sets with `-global`."""

_OBJECTS = re.compile(
    r"(authz|can|cryptodev|filter|input|memory-backend|rng|tls)-[a-z0-9-]+"
    r"|colo-compare|dbus-vmstate|iommufd|iothread|main-loop|pr-manager-helper|secret|secret_keyring|thread-context"
    r"|throttle-group"
)
"""Objects that hold memory, keys, threads and back ends (qapi/qom.json): none of a confidential guest."""

_DRIVES = ("floppy", "ide", "none", "scsi", "virtio")
"""Where a `-drive` may be attached: not to the flash that firmware is launched from."""

MACHINE_PROPERTIES = frozenset(
    [
        "acpi", "aux-ram-share", "bus-lock-ratelimit", "cxl", "default-bus-bypass-iommu", "dump-guest-core",
        "fd-bootchk", "graphics", "hmat", "hpet", "i8042", "kernel-irqchip", "max-ram-below-4g", "mem-merge", "nvdimm",
        "pcspk-audiodev", "pic", "pit", "sata", "smbios-entry-point-type", "smbus", "smm", "suppress-vmdesc", "usb",
        "vmport", "x-oem-id", "x-oem-table-id",
    ]
)  # fmt: skip
"""Properties of the machine that no launch update depends on."""


def refused_arguments(arguments: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield index and complaint for each argument that could stand for something measured.

    The arguments are read as QEMU reads them, so a value is never taken for an option.
    """
    try:
        for index, option, value in qemu_pairs(arguments):
            complaint = refusal(option, value)
            if complaint is not None:
                yield index, complaint
    except SevbuildError as error:
        yield len(arguments) - 1, error.message


def refusal(option: str, value: str | None) -> str | None:
    """Return why an option must not go with a launch, None where it may; `option` is without its dashes.

    An option "" is an argument that is none: the image of a disk.
    """
    if not option and (value or "").startswith("-"):
        return f"{value} is not a QEMU option"
    if option in OWN_OPTIONS:
        return f"-{option} is set elsewhere: launch commands write it from the target"
    rule = EXTRA_RULES.get(option)
    if rule is None:
        said = f"-{option}" if value is None else f"-{option} {value[:_SHOWN]}"
        known = not option or option in EXTRA_OPTIONS
        return None if known else f"{said} may change what is measured"
    try:
        found = rule(value or "")
    except SevbuildError as error:
        found = error.message
    return None if found is None else f"-{option} {(value or '')[:_SHOWN]}: {found}"


def _device(value: str) -> str | None:
    driver = properties(value, "driver").get("driver", "")
    if _DEVICES.fullmatch(driver):
        return None
    return f"a device {driver!r} may change what is measured"


def _object(value: str) -> str | None:
    kind = properties(value, "qom-type").get("qom-type", "")
    if _OBJECTS.fullmatch(kind):
        return None
    if kind in ("sev-guest", "sev-snp-guest", "igvm-cfg"):
        return "the object is set elsewhere: launch commands write it from the target"
    return f"an object {kind!r} may change what is measured"


def _drive(value: str) -> str | None:
    attached = properties(value, "file").get("if", "none")
    if attached in _DRIVES:
        return None
    hint = (
        "the firmware belongs in [firmware]"
        if attached in ("pflash", "mtd")
        else "this is not a kind of disk"
    )
    return f"if={attached}: {hint}"


def _machine(value: str) -> str | None:
    foreign = [name for name in machine_properties(value) if name not in MACHINE_PROPERTIES]
    if not foreign:
        return None
    return f"{foreign[0]} of the machine may change what is measured"


def _global(value: str) -> str | None:
    driver, _ = global_property(value)
    if driver in _BOARD or _DEVICES.fullmatch(driver):
        return None
    return f"a property of {driver!r} may change what is measured"


def _fw_cfg(value: str) -> str | None:
    name = properties(value, "name").get("name", "")
    return None if name.startswith("opt/") else f"{name!r} does not begin with opt/, as users' own names do"


EXTRA_RULES: dict[str, Callable[[str], str | None]] = {
    "M": _machine,
    "device": _device,
    "drive": _drive,
    "fw_cfg": _fw_cfg,
    "global": _global,
    "machine": _machine,
    "object": _object,
}
"""Options of which some values may go with a launch; each rule returns its complaint, or None."""
