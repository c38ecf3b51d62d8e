"""How help is laid out: verbs and options in groups, within 80 columns."""

from __future__ import annotations

from typing import Any

from sevbuild.cli.parser import COMMON

__all__ = ["GROUPS", "write_options", "write_verbs"]

GROUPS = {
    "The manifest": {
        "init": "Write a commented manifest to start from.",
        "import": "Write the manifest of a guest from its launch command.",
        "check": "Check manifests and their inputs without measuring.",
        "lock": "Record what a manifest's names lead to in guest.lock.",
        "schema": "Print the JSON Schema of a kind of document.",
    },
    "The launch": {
        "measure": "Print the launch digest of each target of a guest.",
        "plan": "Print each launch update, and the digest after it.",
        "build": "Write a bundle: what is launched, and what was measured.",
        "qemu-args": "Print the command that launches a target.",
        "id-block": "Sign what an SNP guest is, and check such blocks.",
        "session": "Be the owner of an SEV or SEV-ES guest.",
    },
    "Reference values": {
        "publish": "Write a release: reference values in every format.",
        "export": "Write reference values in one format.",
        "verify": "Check attestation reports, a bundle, or what was published.",
        "appraisal": "Start the policy that reports are held to.",
        "certs": "Fetch or list the certificates of attestation reports.",
        "recompute": "Compute launch digests from published ingredients.",
        "merge": "Merge several releases into one document.",
    },
    "Differences": {
        "explain": "Tell why a launch digest is not the expected one.",
        "diff": "Show what differs between two launches, causes first.",
        "replay": "Run what a hypervisor launched beside the plan of a guest.",
    },
    "What is known": {
        "inspect": "Show what a firmware, VMSA, IGVM file or bundle holds.",
        "profiles": "Show how each hypervisor launches, with sources.",
        "cpus": "List CPU models and their signatures.",
        "cache": "Show or clean the cache of inputs fetched by URL.",
    },
}
"""Every verb and what it does, in the groups of the help."""


def write_verbs(formatter: Any) -> None:
    """Write the verbs to a help text."""
    width = max(len(verb) for verbs in GROUPS.values() for verb in verbs)
    for title, verbs in GROUPS.items():
        with formatter.section(title):
            formatter.write_dl([(verb.ljust(width), summary) for verb, summary in verbs.items()])
    formatter.write_paragraph()
    formatter.write_text("`sevbuild help VERB` shows what a verb takes.")


def write_options(command: Any, context: Any, formatter: Any) -> None:
    """Write arguments, then options by group: those of the verb, of its groups, of every verb."""
    groups: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
    last: list[tuple[str, str]] = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is None:
            continue
        panel = getattr(parameter, "rich_help_panel", None)
        if parameter.param_type_name == "argument":
            groups["Arguments"].append(record)
        elif panel == COMMON or parameter is command.get_help_option(context):
            last.append(record)
        else:
            groups.setdefault(panel or "Options", []).append(record)
    groups[COMMON if groups["Options"] else "Options"] = last
    for title, records in groups.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)
