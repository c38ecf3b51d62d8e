"""What a libvirt domain says of a launch, and what it must leave to QEMU's command line."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import Any

from sevbuild.commands.id_block import base64_texts
from sevbuild.commands.launch import Launch
from sevbuild.commands.qemu import GUEST_ID, IGVM_ID, guest_properties, qemu_options, resolve
from sevbuild.errors import SevbuildError
from sevbuild.text import decode_text, visible

__all__ = ["LIBVIRT_FOLDER", "domain_values", "finalize_xml"]

LIBVIRT_FOLDER = "/bundle"
"""Where libvirt, which wants absolute paths, is told that relative ones start: to be replaced."""

_KNOWN_CPUS = ("EPYC", "EPYC-IBPB", "EPYC-Rome", "EPYC-Milan", "EPYC-Genoa", "Dhyana")
"""Models that every libvirt with sev-snp knows by these names (libvirt 10.5 src/cpu_map)."""

_WHITE = {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def finalize_xml(value: Any) -> Any:
    """Return a value as XML text or attribute: also line ends and tabs, which a parser would change.

    Raises SevbuildError for characters that no XML document can hold.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    from markupsafe import Markup, escape

    for char in value:
        if not _in_xml(ord(char)):
            hint = "the shell script launches it"
            raise SevbuildError(f"no XML document can hold the character {char!a}", hint=hint)
    text = str(escape(value))
    for char, reference in _WHITE.items():
        text = text.replace(char, reference)
    return Markup(text)  # noqa: S704 - escaped above


def _in_xml(code: int) -> bool:
    """Tell whether XML 1.0 has the character (section 2.2)."""
    return code in (9, 10, 13) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000


def domain_values(launch: Launch, folder: str) -> dict[str, Any]:
    """Return what the template of a domain fills in; relative paths are put below `folder`, as they stand."""
    launch = launch._replace(files={role: os.path.join(folder, path) for role, path in launch.files.items()})
    # libvirt has no element for further properties of the guest object, so QEMU gets all of it.
    security = not launch.properties
    cpu = launch.cpu if launch.cpu in _KNOWN_CPUS else None
    arguments: list[str] = []
    if cpu is None:
        arguments += ["-cpu", launch.cpu]
    for option in qemu_options(launch):
        words = resolve([option])
        kind = words[1].partition(",")[0] if words[0] == "-object" else ""
        if kind == "igvm-cfg" or (kind.startswith("sev-") and not security):
            arguments += words
    machine = [] if security else [f"confidential-guest-support={GUEST_ID}"]
    machine += [f"igvm-cfg={IGVM_ID}"] if launch.igvm else []
    if machine:
        arguments += ["-machine", ",".join(machine)]
    properties = dict(guest_properties(launch))
    hashes = {"on": "yes", "off": "no"}.get(str(properties.get("kernel-hashes")))
    block = launch.id_block
    label = "-".join([launch.guest, *launch.label.split("/")])
    return {
        "name": "".join(char if char in _NAME else "-" for char in label),
        "stand_in": folder if folder == LIBVIRT_FOLDER else None,
        "title": visible(f"{launch.guest} {launch.version}, {launch.label}"),
        "memory": int(launch.machine.memory[:-1]) * (1024 if launch.machine.memory[-1] == "G" else 1),
        "files": {"kernel": None, "initrd": None, "firmware": None, **launch.files},
        "cmdline": None if launch.cmdline is None else decode_text(launch.cmdline),
        "cpu": cpu,
        "security": security,
        "hashes": hashes,
        "policy": f"{launch.policy:#06x}",
        "host_data": None if launch.host_data is None else b64encode(launch.host_data).decode(),
        "id_block": None if block is None else base64_texts(block),
        "author_key": block is not None and block.auth.author is not None,
        "arguments": arguments + list(launch.machine.extra_args),
    }
