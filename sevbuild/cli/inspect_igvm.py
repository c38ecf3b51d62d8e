"""How `inspect` prints an IGVM file."""

from __future__ import annotations

from typing import Any

from sevbuild.cli.tables import facts_text, text_table
from sevbuild.text import visible

__all__ = ["igvm_text"]


def igvm_text(file: dict[str, Any]) -> str:
    """Return the description of an IGVM file as text."""
    facts = [
        ("size", f"{file['size']} bytes"),
        ("sha256", file["sha256"]),
        ("format", f"version {file['version']}, {file['architecture']}, {file['headers']} headers"),
    ]
    text = facts_text(f"{file['name']}: IGVM file", facts, 8)
    text += "".join(f"  warning: {visible(line)}\n" for line in file["warnings"])
    text += _section(
        "platforms", file["platforms"], ("mask", "platform", "highest_vtl", "shared_gpa_boundary")
    )
    text += _section("policies", file["policies"], ("mask", "policy"))
    text += _section(
        "pages, in file order", file["regions"], ("gpa", "pages", "type", "flags", "data", "mask")
    )
    contexts = [{**context, **(context["registers"] or {})} for context in file["vp_contexts"]]
    columns = ("vp_index", "platform", "gpa", "cs.base", "rip", "cr0", "efer", "sev_features", "mask")
    text += _section("VP contexts", contexts, columns)
    text += _section(
        "parameter areas", file["parameter_areas"], ("index", "size", "inserted_at", "initial_data")
    )
    text += _section("parameters", file["parameters"], ("kind", "area", "offset"))
    text += _section("required memory", file["required_memory"], ("gpa", "size", "mask"))
    block = ("launch_digest", "family_id", "image_id", "guest_svn", "author_key")
    text += _section("ID blocks", file["id_blocks"], block)
    text += _section("other headers", file["other"], ("type",))
    same = "one and the same" if file["same_digest"] else "not the same in all"
    modes, taken = file["modes"], {entry["mode"] for entry in file["loaders"]} - {None}
    text += f"\nlaunch digest by loader: {same}\n"
    if len(modes) > 1 and taken:
        text += f"  as {taken.pop()}; the file has platforms for {', '.join(modes)}, and --mode picks one\n"
    rows = [(entry["loader"], entry["digest"] or f"refused: {entry['refused']}") for entry in file["loaders"]]
    text += text_table(("loader", "digest"), rows, indent=2)
    text += "\ncan it boot\n"
    for entry in file["loaders"]:
        if entry["digest"] is not None and entry["launches"]:
            doubts = [f"{doubt['kind'].replace('-', ' ')}: {doubt['reason']}" for doubt in entry["doubts"]]
            doubt = visible("; ".join(doubts)) or "nothing known against it"
            text += f"  {entry['loader']:<22}{doubt}\n"
    text += "\nportable: " + ("yes: one digest in every loader\n" if file["portable"] else "no\n")
    for breach in file["breaches"]:
        text += f"  {breach['rule']} (header {breach['header']}): {visible(breach['reason'])}\n"
    return text


def _section(title: str, entries: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    if not entries:
        return ""
    header = ("header", *(column.replace("_", " ") for column in columns))
    rows = [(str(entry["header"]), *(_cell(entry.get(column)) for column in columns)) for entry in entries]
    return f"\n{title}\n" + text_table(header, rows, indent=2)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return "-" if value is None else str(value)
