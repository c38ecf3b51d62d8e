"""From inputs and a profile to the launch plan of one target."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.errors import SevbuildError
from sevbuild.image.ingredients import FirmwareSeed
from sevbuild.image.kernel_hashes import TABLE_SIZE, KernelHashes, hash_page, hash_table
from sevbuild.image.ovmf import Firmware, Section, check_sections, section_kind_name
from sevbuild.image.svsm import Svsm
from sevbuild.launch.mode import Mode, Order
from sevbuild.launch.page_type import MEASURED_CONTENTS, PAGE_SIZE, PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.profile import LaunchValues
from sevbuild.launch.update import LaunchUpdate
from sevbuild.vcpu.reset import initial_vmsa

__all__ = ["GuestInputs", "LaunchShape", "Planner"]

_MOST_ZEROS = 256 << 20
_BUILD_HASHES = "measured direct boot needs OVMF built from OvmfPkg/AmdSev/AmdSevX64.dsc"


class GuestInputs(NamedTuple):
    """What a guest is made of; `kernel_hashes` is None where nothing of a kernel is measured."""

    firmware: Firmware | FirmwareSeed
    svsm: Svsm | None
    kernel_hashes: KernelHashes | None


class LaunchShape(NamedTuple):
    """What else a launch depends on; `guest_features` counts for modes with a VMSA."""

    mode: Mode
    launch: LaunchValues
    order: Order
    policy: int
    vcpus: int
    signature: int
    guest_features: int


class Planner:
    """A maker of launch plans, which share every region and VMSA that several of them have in common.

    Sharing is by identity: the same region of two plans is the same object, which is how the measuring
    side finds common prefixes.
    """

    def __init__(self) -> None:
        self._firmware: list[LaunchUpdate] = []
        self._updates: dict[tuple[int, PageType, int, bytes | None, str], LaunchUpdate] = {}
        self._regions: dict[tuple[GuestInputs, LaunchValues, Mode], tuple[LaunchUpdate, ...]] = {}
        self._vmsas: dict[tuple[bytes, bytes | None, int], list[LaunchUpdate]] = {}
        self._pages: dict[tuple[object, ...], tuple[bytes, bytes | None]] = {}
        self._zero_data: dict[int, bytes] = {}

    def firmware_update(self, firmware: Firmware) -> LaunchUpdate:
        """Return the launch update of the firmware's own pages, which most launches begin with."""
        data = firmware.data
        for found in self._firmware:
            # The pages are the same whatever metadata was read from them, or is launched of it.
            if found.data is data:
                return found
        update = LaunchUpdate(firmware.gpa, PageType.NORMAL, len(data), data, "firmware")
        self._firmware.append(update)
        return update

    def plan(self, inputs: GuestInputs, shape: LaunchShape) -> LaunchPlan:
        """Return the launch plan of one target; raises SevbuildError for what no host can launch."""
        mode, launch = shape.mode, shape.launch
        if mode not in launch.regions:
            raise SevbuildError(f"the profile cannot launch {mode}")
        key = (inputs, launch, mode)
        regions = self._regions.get(key)
        if regions is None:
            regions = self._regions[key] = tuple(self._lay_out(inputs, launch, mode))
        vmsas = () if mode == "sev" else self._vmsa_updates(inputs, shape)
        seed = inputs.firmware.seed if isinstance(inputs.firmware, FirmwareSeed) else None
        if shape.order == "canonical":
            if seed is not None:
                hint = "in canonical order the firmware comes after the sections; only its file can tell that digest"
                raise SevbuildError("a seed fixes the firmware as the first region", hint=hint)
            # Few launches are sorted.
            from sevbuild.launch.batch import LaunchBatch

            batch = LaunchBatch()
            for update in regions:
                batch.update_data(update)
            for vcpu, update in enumerate(vmsas):
                batch.update_vmsa(vcpu, update)
            regions = batch.finish()[: len(regions)]
        return LaunchPlan(mode, shape.policy, seed, regions, vmsas)

    def _lay_out(self, inputs: GuestInputs, launch: LaunchValues, mode: Mode) -> list[LaunchUpdate]:
        regions = launch.regions[mode]
        if isinstance(inputs.firmware, FirmwareSeed) and mode != "snp":
            raise SevbuildError(f"a seed is an SNP digest; mode {mode} needs the firmware file")
        if inputs.svsm is None and "svsm" in regions:
            raise SevbuildError("the profile requires an SVSM", hint="name it under [svsm]")
        if inputs.svsm is not None and "svsm" not in regions:
            raise SevbuildError(
                "the profile does not launch an SVSM", hint="`sevbuild profiles` lists others"
            )
        updates: list[LaunchUpdate] = []
        for region in regions:
            updates += self._region(region, inputs, launch)
        return updates

    def _region(self, region: str, inputs: GuestInputs, launch: LaunchValues) -> list[LaunchUpdate]:
        """Return the updates of one region; what a seed covers has none."""
        firmware, svsm, hashes = inputs
        if region == "sections":
            return self._section_updates(inputs, launch)
        if region == "firmware":
            return [self.firmware_update(firmware)] if isinstance(firmware, Firmware) else []
        if region == "svsm":
            if svsm is None or svsm.data is None:
                return []
            return [self._update(svsm.gpa, PageType.NORMAL, svsm.data, "svsm")]
        return [] if hashes is None else [self._hash_update(region, hashes, self._hash_table_gpa(inputs))]

    def _hash_update(self, region: str, hashes: KernelHashes, table_gpa: int) -> LaunchUpdate:
        if region == "hash-page":
            return self._hash_page(hashes, table_gpa, "kernel-hashes page")
        return self._update(table_gpa, PageType.NORMAL, hash_table(hashes), "kernel-hashes")

    def _section_updates(self, inputs: GuestInputs, launch: LaunchValues) -> list[LaunchUpdate]:
        sections, owner = inputs.firmware.metadata.sections, "firmware"
        if inputs.svsm is not None:
            sections, owner = inputs.svsm.sections, "SVSM"
        if sections is None:
            hint = "plain SEV and SEV-ES work; SNP needs OVMF from 2022 or later (edk2-stable202202)"
            raise SevbuildError(f"the {owner} has no SEV metadata, so SNP cannot boot it", hint=hint)
        reason = check_sections(sections)
        if reason is not None:
            raise SevbuildError(f"the SEV metadata of the {owner} cannot be launched: {reason}")
        numbered = list(enumerate(sections))
        last = [entry for entry in numbered if section_kind_name(entry[1].kind) in launch.sections_last]
        updates = [
            self._section_update(index, section, inputs, launch)
            for index, section in [entry for entry in numbered if entry not in last] + last
        ]
        if inputs.kernel_hashes is not None and not any(
            update.origin.endswith("(kernel-hashes)") for update in updates
        ):
            message = f"the {owner} has no kernel-hashes section, so SNP cannot measure a kernel"
            raise SevbuildError(message, hint=_BUILD_HASHES)
        return updates

    def _section_update(
        self, index: int, section: Section, inputs: GuestInputs, launch: LaunchValues
    ) -> LaunchUpdate:
        kind = section_kind_name(section.kind)
        origin = f"section {index} ({kind})"
        hashes = inputs.kernel_hashes
        if kind == "kernel-hashes" and hashes is None:
            kind = "kernel-hashes-absent"
        page_type = launch.page_type(kind)
        if page_type is None:
            raise SevbuildError(f"the profile refuses {origin} of the firmware")
        if page_type not in MEASURED_CONTENTS:
            return self._update(section.gpa, page_type, None, origin, section.size)
        if hashes is None or kind != "kernel-hashes":
            if kind in ("cpuid", "snp-secrets"):
                # The host fills these in: a digest over zeros would be of no guest.
                raise SevbuildError(f"the profile gives no contents for {origin}")
            return self._zeros(section, page_type, origin)
        table_gpa = self._hash_table_gpa(inputs)
        if not section.gpa <= table_gpa < section.gpa + section.size or section.size != PAGE_SIZE:
            message = (
                f"the hash table at {table_gpa:#x} is not in the one page of {origin} at {section.gpa:#x}"
            )
            raise SevbuildError(message, hint=_BUILD_HASHES)
        return self._hash_page(hashes, table_gpa, origin)

    def _hash_page(self, hashes: KernelHashes, table_gpa: int, origin: str) -> LaunchUpdate:
        page = hash_page(hashes, table_gpa)
        return self._update(table_gpa & -PAGE_SIZE, PageType.NORMAL, page, origin)

    def _zeros(self, section: Section, page_type: PageType, origin: str) -> LaunchUpdate:
        """Return the update of a section that is launched as written zeros."""
        if section.size > _MOST_ZEROS:
            raise SevbuildError(
                f"{origin} has {section.size} bytes; the limit for written zeros is {_MOST_ZEROS} bytes"
            )
        data = self._zero_data.setdefault(section.size, bytes(section.size))
        return self._update(section.gpa, page_type, data, origin)

    def _hash_table_gpa(self, inputs: GuestInputs) -> int:
        area = inputs.firmware.metadata.hash_table
        if area is None or area.base == 0:
            raise SevbuildError("the firmware has no area for kernel hashes", hint=_BUILD_HASHES)
        # Ingredients name the address alone, which their publisher's hypervisor accepted.
        if isinstance(inputs.firmware, Firmware) and area.size < TABLE_SIZE:
            message = (
                f"the firmware's area for kernel hashes has {area.size} bytes; the table needs {TABLE_SIZE}"
            )
            raise SevbuildError(message, hint=_BUILD_HASHES)
        return area.base

    def _vmsa_updates(self, inputs: GuestInputs, shape: LaunchShape) -> tuple[LaunchUpdate, ...]:
        launch = shape.launch
        count = shape.vcpus if launch.measured_vcpus == "all" else 1
        several = shape.vcpus > 1
        entries = (inputs.firmware, inputs.svsm, launch)
        key = (entries, shape.mode, shape.signature, shape.guest_features, several)
        pages = self._pages.get(key)
        if pages is None:
            bsp = self._vmsa(inputs, shape, "bsp")
            pages = self._pages[key] = (bsp, self._vmsa(inputs, shape, "ap") if several else None)
        found = self._vmsas.setdefault((*pages, launch.vmsa_gpa), [])
        while len(found) < count:
            page = pages[1] if found and pages[1] is not None else pages[0]
            found.append(LaunchUpdate(launch.vmsa_gpa, PageType.VMSA, PAGE_SIZE, page, f"vmsa {len(found)}"))
        return tuple(found[:count])

    def _vmsa(self, inputs: GuestInputs, shape: LaunchShape, role: str) -> bytes:
        entry = shape.launch.entry[role]
        if entry == "svsm":
            if inputs.svsm is None:
                raise SevbuildError(
                    "the profile requires an SVSM: it starts vCPUs in one", hint="name it under [svsm]"
                )
            entry = inputs.svsm.entry
        elif entry == "reset-block":
            # QEMU treats a zero address like a missing block.
            entry = inputs.firmware.metadata.reset or 0
            if not entry:
                hint = f"mode {shape.mode} can only have vcpu.count = 1"
                raise SevbuildError(
                    "the firmware has no SEV-ES reset block: its other vCPUs cannot start", hint=hint
                )
        return initial_vmsa(
            shape.launch.vcpu_state(shape.mode, role),
            entry=int(entry),
            signature=shape.signature,
            guest_features=shape.guest_features,
        )

    def _update(
        self, gpa: int, page_type: PageType, data: bytes | None, origin: str, length: int = 0
    ) -> LaunchUpdate:
        """Return the one update of a region; `length` is for a type whose contents are not measured."""
        length = length if data is None else len(data)
        key = (gpa, page_type, length, data, origin)
        found = self._updates.get(key)
        if found is None:
            found = self._updates[key] = LaunchUpdate(*key)
        return found
