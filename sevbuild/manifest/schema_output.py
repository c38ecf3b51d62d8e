"""The JSON Schema of what a manifest says beside what is measured: launch commands and publications."""

from __future__ import annotations

from typing import Any

from sevbuild.documents.schema_shapes import hex_digits, integer, one_or_list, table, text, word
from sevbuild.manifest.formats import FORMATS, FormatKey
from sevbuild.manifest.machine_keys import MEMORY

__all__ = ["machine_schema", "publish_schema"]


def machine_schema() -> dict[str, Any]:
    """Return the schema of `[machine]`."""
    return table(
        "What launch commands say beside what is measured; nothing here enters a digest. For guests that have such a command.",
        {
            "memory": text("The guest's memory, as QEMU writes it. Default 2G.", pattern=MEMORY),
            "cbitpos": integer(
                0, 63, "The host's C-bit (CPUID 8000001F EBX 5:0): 51 from Milan on, 47 before. Default 51."
            ),
            "reduced-phys-bits": integer(
                1, 63, "Physical address bits that encryption takes (CPUID 8000001F EBX 11:6). Default 1."
            ),
            "extra-args": {
                "description": "Further QEMU arguments, such as disks; only those that cannot say anything that is measured.",
                "type": "array",
                "items": text(),
            },
        },
    )


def publish_schema() -> dict[str, Any]:
    """Return the schema of `[publish]` and of its tables by format."""
    formats = {
        name: table(
            f"What format {name} needs that the guest does not determine.",
            {key.name: {"description": key.meaning, **_format_value(key)} for key in keys},
        )
        for name, keys in FORMATS.items()
    }
    return table(
        "How reference values are published.",
        {
            "formats": one_or_list("The formats `publish` writes. Absent: all that apply.", word(FORMATS)),
            **formats,
        },
    )


def _format_value(key: FormatKey) -> dict[str, Any]:
    if key.kind == "integer":
        return integer(0, key.high)
    if key.kind == "boolean":
        return {"type": "boolean"}
    if key.kind == "text":
        return text(minLength=1)
    item = hex_digits(key.size)
    return item if key.kind == "hex" else {"anyOf": [item, {"type": "array", "items": item}]}
