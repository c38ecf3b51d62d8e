"""A QEMU command line as QEMU puts it together: what is said twice, in whatever spelling, is merged."""

from __future__ import annotations

from collections.abc import Sequence

from sevbuild.commands.importing.unknown import is_known, quoted_marks, reasons, spelled
from sevbuild.commands.qemu import CONSOLE, escaped
from sevbuild.errors import SevbuildError
from sevbuild.manifest.extra_args import EXTRA_RULES, MACHINE_PROPERTIES, refusal
from sevbuild.manifest.qemu_options import global_property, machine_properties, properties, qemu_pairs

__all__ = ["GUEST_OBJECTS", "CommandLine"]

GUEST_OBJECTS = ("sev-guest", "sev-snp-guest")

_PROPERTY_OF = {
    "append": "append", "bios": "firmware", "dtb": "dtb", "initrd": "initrd", "kernel": "kernel", "shim": "shim",
}  # fmt: skip
"""Options that set one property of the machine (system/vl.c); the later of option and `-machine` counts."""

_GROUP_OF = {"smp": ("smp", "cpus"), "m": ("memory", "size")}
"""Options that set several of its properties, and the one that goes without its name."""

HOST_OPTIONS = frozenset(
    [
        "D", "L", "async-teardown", "chroot", "d", "dfilter", "enable-sync-profile", "gdb", "jitdump", "mem-path",
        "mem-prealloc", "no-acpi", "no-hpet", "perfmap", "run-with", "runas", "s", "seed", "trace",
    ]
)  # fmt: skip
"""Options of the process and of memory that reach nothing that is measured, and belong to no guest."""

_PIECES = frozenset(
    [
        "confidential-guest-support",
        "igvm-cfg",
        "memory-backend",
        "memory-encryption",
        "pflash0",
        "pflash1",
        "type",
    ]
)
_FORMATS = ("", "file", "host_device", "raw")
_CPU = ("cpu", "x86_64-cpu")


class CommandLine:
    """The options of a command line that a manifest has keys for, and the rest.

    `doubts` are reasons why further arguments cannot be kept without asking; `extra` are those that can.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        self.machine: dict[str, str] = {}
        self.accelerators: list[str] = []
        self.cpu: str | None = None
        self.name = ""
        self.objects: list[dict[str, str]] = []
        self.flash: dict[str, dict[str, str]] = {}
        self.cpu_globals: list[str] = []
        self.cpu_devices: list[str] = []
        self.extra: list[list[str]] = []
        self.doubts: list[str] = []
        self.notes: list[str] = []
        self._blocks: dict[str, tuple[dict[str, str], list[str]]] = {}
        self._backends: dict[str, tuple[dict[str, str], list[str]]] = {}
        for _, option, value in qemu_pairs(arguments):
            self._take(option, value if value is None else quoted_marks(value))
        self._drop_what_is_written_anew()

    def _take(self, option: str, value: str | None) -> None:
        words = [f"-{option}"] if option else []
        words += [] if value is None else [value]
        if not is_known(option) or (not option and value is not None and value.startswith("\0")):
            self.doubts.append(f"{spelled(' '.join(words))} may be any option: {reasons(words[0])}")
        elif option in ("enable-kvm", "accel"):
            self.accelerators.append("kvm" if value is None else value)
        elif value is None:
            self._rest(option, words)
        elif option in EXTRA_RULES and self._open(value):
            self.doubts.append(f"{spelled(' '.join(words))} may have any property: {reasons(value)}")
        elif not self._take_own(option, value):
            self._rest(option, words)

    def _take_own(self, option: str, value: str) -> bool:
        """Take an option that a manifest has keys for, and return whether it is one."""
        if option in _PROPERTY_OF:
            self.machine[_PROPERTY_OF[option]] = value
        elif option in _GROUP_OF:
            group, implied = _GROUP_OF[option]
            self.machine.update(
                {f"{group}.{name}": text for name, text in properties(value, implied).items()}
            )
        elif option == "cpu":
            self.cpu = value
        elif option == "name":
            self.name = value
        elif option in ("machine", "M"):
            self._take_machine(value)
        elif option == "pflash":
            self._take_flash({"file": value})
        else:
            return self._take_part(option, value)
        return True

    def _take_part(self, option: str, value: str) -> bool:
        """Take a flash drive, the object of a guest or what concerns a CPU; return whether it is one."""
        if option == "drive" and (drive := properties(value, "file")).get("if") == "pflash":
            self._take_flash(drive)
        elif option == "object" and self._is_own(found := properties(value, "qom-type")):
            self.objects.append(found)
        elif option == "device" and self._is_cpu(properties(value, "driver").get("driver", "")):
            self.cpu_devices.append(spelled(value))
        elif option == "global" and self._is_cpu(global_property(value)[0]):
            self.cpu_globals.append(value)
        else:
            return False
        return True

    def _rest(self, option: str, words: list[str]) -> None:
        value = words[-1] if len(words) == 2 or not option else None
        if f"-{option}" in CONSOLE:
            return
        if option in HOST_OPTIONS:
            where = f"; QEMU looks for files without a path in {value} too" if option == "L" else ""
            self.notes.append(f"{' '.join(words)} concerns the process on its host, and is not kept{where}")
            return
        complaint = refusal(option, value)
        if complaint is not None:
            shown = refusal(option, None if value is None else spelled(value))
            self.doubts.append(shown or spelled(complaint))
            return
        if value is not None and not is_known(value):
            self.notes.append(f"{' '.join(words)} measures nothing and is not kept: {reasons(value)}")
            return
        if option == "blockdev" and value is not None:
            block = properties(value, "driver")
            self._blocks[block.get("node-name", "")] = (block, words)
        if option == "object" and value is not None:
            backend = properties(value, "qom-type")
            if backend.get("qom-type", "").startswith("memory-backend-"):
                self._backends[backend.get("id", "")] = (backend, words)
        self.extra.append(words)

    @staticmethod
    def _open(value: str) -> bool:
        """Tell whether a part of a value that is not known could be a property of any name."""
        return not value.startswith("{") and any(
            not is_known(part.partition("=")[0]) for part in value.replace(",,", "").split(",")
        )

    @staticmethod
    def _is_own(entry: dict[str, str]) -> bool:
        kind = entry.get("qom-type", "")
        return kind.endswith("-guest") or kind == "igvm-cfg"

    @staticmethod
    def _is_cpu(driver: str) -> bool:
        return driver.endswith("-cpu") or driver in _CPU

    def _take_machine(self, value: str) -> None:
        kept = []
        for name, text in machine_properties(value).items():
            if name == "accel":
                self.accelerators += text.split(":")
            elif name in MACHINE_PROPERTIES:
                kept.append((name, text))
            elif name in _PIECES or name in _PROPERTY_OF.values() or name.startswith(("smp.", "memory.")):
                self.machine[name] = text
            else:
                self.doubts.append(spelled(f"-machine {name}={text} may change what is measured"))
        unknown = [(name, text) for name, text in kept if not is_known(text)]
        self.notes += [f"-machine {name}={text} measures nothing and is not kept" for name, text in unknown]
        kept = [entry for entry in kept if entry not in unknown]
        if kept:
            self.extra.append(["-machine", ",".join(f"{name}={escaped(text)}" for name, text in kept)])

    def _take_flash(self, drive: dict[str, str]) -> None:
        free = next(str(unit) for unit in range(len(self.flash) + 1) if str(unit) not in self.flash)
        self.flash[drive.get("unit", drive.get("index", free))] = drive

    def object(self, *kinds: str) -> dict[str, str] | None:
        """Return the object of one of these kinds that the machine uses, else the first of them."""
        found = [entry for entry in self.objects if entry.get("qom-type") in kinds]
        used = (self.support, self.machine.get("igvm-cfg"))
        return next((entry for entry in found if entry.get("id") in used), found[0] if found else None)

    @property
    def support(self) -> str | None:
        """Return the id of the machine's confidential guest, under its name or that of before QEMU 6.0."""
        return self.machine.get("confidential-guest-support", self.machine.get("memory-encryption")) or None

    def flash_file(self) -> tuple[str, str] | None:
        """Return the file behind flash unit 0 and its format, None where no flash is given.

        Raises SevbuildError where the flash is given, and its file cannot be told.
        """
        if "0" in self.flash:
            drive = self.flash["0"]
            return drive.get("file", ""), drive.get("format", "")
        if "pflash0" not in self.machine:
            return None
        chain = self._chain("pflash0")
        formats = [block.get("driver", "") for block, _ in chain]
        for block, _ in chain:
            path = block.get("filename") or block.get("file.filename")
            if path is not None:
                odd = [name for name in (*formats, block.get("file.driver", "")) if name not in _FORMATS]
                cut = [name for name in ("offset", "size") if any(name in entry for entry, _ in chain)]
                return path, (odd + cut + ["raw"])[0]
        raise SevbuildError(f"pflash0={spelled(self.machine['pflash0'])} does not name a file")

    def _chain(self, unit: str) -> list[tuple[dict[str, str], list[str]]]:
        """Return the block nodes behind a flash unit, the outermost first."""
        found: list[tuple[dict[str, str], list[str]]] = []
        node = self.machine.get(unit, "")
        while node in self._blocks and self._blocks[node] not in found:
            found.append(self._blocks[node])
            node = found[-1][0].get("file", "")
        return found

    def _drop_what_is_written_anew(self) -> None:
        """Take away what goes with parts that launch commands write from the manifest."""
        dropped = [words for unit in ("pflash0", "pflash1") for _, words in self._chain(unit)]
        backend = self._backends.get(self.machine.get("memory-backend", ""))
        if backend is not None:
            dropped.append(backend[1])
            if backend[0]["qom-type"] != "memory-backend-memfd":
                self.notes.append("memory is not measured: its backend is not kept")
        self.extra = [words for words in self.extra if words not in dropped]
