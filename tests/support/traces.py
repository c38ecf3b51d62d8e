"""Launches as hypervisors write them down: QEMU's trace events, and our JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sevbuild.launch.page_type import PageType
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.region_data import chunks
from sevbuild.launch.update import LaunchUpdate

__all__ = ["json_trace", "own_events", "qemu_events", "qemu_trace", "update_event"]

HOST = 0x7F0000000000
"""Where the hypervisor has what it launches."""


def qemu_events(
    plan: LaunchPlan, *, policy: int | None = None, form: str = "src", states: bool = True
) -> list[str]:
    """Return the events that QEMU's trace-events define for a launch, a line each.

    `form` is `src` as QEMU has it, `addr` as the forks of 2023, `type` as those of 2021 and 2022.
    """
    policy = plan.policy if policy is None else policy
    lines = ["kvm_sev_init "]
    if plan.mode == "snp":
        gosvw = "" if form == "type" else " gosvw (null)"
        lines.append(f"kvm_sev_snp_launch_start policy {policy:#x}{gosvw}")
    else:
        lines.append(f"kvm_sev_launch_start policy {policy:#x} session (nil) pdh (nil)")
    lines += ["kvm_sev_change_state uninit -> launch-update"] * states
    for index, update in enumerate(plan.regions):
        lines.append(_qemu_update(update, HOST + (index << 24), plan.mode, form))
    if plan.mode == "snp":
        lines.append("kvm_sev_snp_launch_finish" + _finish_arguments(form))
    else:
        lines += ["kvm_sev_change_state launch-update -> launch-secret"] * states
        lines += [f"kvm_sev_launch_measurement data {'A' * 64}", "kvm_sev_launch_finish "]
    old = "launch-update" if plan.mode == "snp" else "launch-secret"
    lines += [f"kvm_sev_change_state {old} -> running"] * states
    return lines


def qemu_trace(plan: LaunchPlan, *, prefix: str = "", form: str = "src") -> str:
    """Return the same as a text; `prefix` stands before each event."""
    return text_of(f"{prefix}{line}" for line in qemu_events(plan, form=form))


def text_of(lines: Iterable[str]) -> str:
    """Return lines as a text."""
    return "".join(f"{line}\n" for line in lines)


def own_events(plan: LaunchPlan, *, contents: bool = True, vmsas: bool = True) -> list[dict[str, Any]]:
    """Return a launch as events of ours."""
    events: list[dict[str, Any]] = [
        {"schema": 1, "event": "launch-start", "mode": plan.mode, "policy": hex(plan.policy)}
    ]
    updates: Sequence[LaunchUpdate] = plan.updates if vmsas else plan.regions
    events += [update_event(update, plan.mode, contents=contents) for update in updates]
    events += [{"event": "launch-measure"}] * (plan.mode != "snp")
    return [*events, {"event": "launch-finish"}]


def json_trace(events: Iterable[dict[str, Any]]) -> str:
    """Return events as a text, one a line."""
    return text_of(json.dumps(event) for event in events)


def update_event(update: LaunchUpdate, mode: str, *, contents: bool = True) -> dict[str, Any]:
    """Return one launch update as an event of ours."""
    is_vmsa = update.page_type == PageType.VMSA
    kind = update.page_type.label if mode == "snp" else "vmsa" if is_vmsa else "data"
    event: dict[str, Any] = {"event": "launch-update", "page_type": kind}
    if mode == "snp" or not is_vmsa:
        event["gpa"] = hex(update.gpa)
    event["length"] = hex(update.length)
    if contents and update.data is not None:
        event["contents"] = b"".join(chunks(update.data)).hex()
    return event


def _qemu_update(update: LaunchUpdate, host: int, mode: str, form: str) -> str:
    if mode != "snp":
        return f"kvm_sev_launch_update_data addr {host:#x} len {update.length:#x}"
    name = "kvm_sev_snp_launch_update"
    if form == "type":
        return f"{name} addr {host:#x} len {update.length:#x} type {int(update.page_type)}"
    word = update.page_type.label.capitalize()
    return f"{name} {form} {host:#x} gpa {update.gpa:#x} len {update.length:#x} ({word} page)"


def _finish_arguments(form: str) -> str:
    return " " if form == "type" else " id_block (null) id_auth (null) host_data (null)"
