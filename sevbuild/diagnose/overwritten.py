"""The VMSAs of a launch plan with registers overwritten, for launches that no profile lays out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sevbuild.diagnose.departures import Departures
from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import chunks
from sevbuild.launch.update import LaunchUpdate
from sevbuild.vcpu.save_area import VMSA_SIZE, build_vmsa, parse_vmsa, reserved_bytes_set

__all__ = ["overwritten", "vmsas_of"]


def vmsas_of(plan: LaunchPlan) -> Iterator[bytes]:
    """Yield the VMSAs of a plan in the order of the launch, wherever in it they are."""
    for update in plan.updates:
        if _is_vmsa(update):
            yield _page(update)


def overwritten(plan: LaunchPlan, departures: Departures) -> LaunchPlan:
    """Return a plan whose VMSAs have the registers of departures; the first one is that of role `bsp`."""
    first = next((update for update in plan.updates if _is_vmsa(update)), None)
    registers = {role: _registers(departures, role) for role in ("bsp", "ap")}

    def changed(update: LaunchUpdate) -> LaunchUpdate:
        values = registers["bsp" if update is first else "ap"]
        if not values or not _is_vmsa(update):
            return update
        return update._replace(data=_with_registers(_page(update), values))

    return plan._replace(regions=tuple(map(changed, plan.regions)), vmsas=tuple(map(changed, plan.vmsas)))


def _is_vmsa(update: LaunchUpdate) -> bool:
    return update.page_type == PageType.VMSA and update.length == VMSA_SIZE and update.data is not None


def _page(update: LaunchUpdate) -> bytes:
    return b"".join(chunks(update.data or b""))


def _registers(departures: Departures, role: str) -> dict[str, Any]:
    """Return the registers of a role by the names of the save area, those of a segment by part."""
    found: dict[str, Any] = {}
    for name, value in departures:
        table, _, rest = name.partition(".")
        whose, _, register = rest.partition(".")
        if table == "registers" and whose == role:
            field, _, part = register.replace("-", "_").partition(".")
            found[field] = {**found.get(field, {}), part: value} if part else value
    return found


def _with_registers(page: bytes, values: Mapping[str, Any]) -> bytes:
    """Return a VMSA with registers overwritten; what no field has stays as it is."""
    own = parse_vmsa(page)
    fields: dict[str, Any] = dict(own)
    for name, value in values.items():
        segment = own[name]
        fields[name] = {**segment, **value} if isinstance(segment, dict) else value
    built = bytearray(build_vmsa(fields))
    for offset, length in reserved_bytes_set(page):
        built[offset : offset + length] = page[offset : offset + length]
    return bytes(built)
