"""How ID blocks are shown, and what was checked of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sevbuild.cli.report import print_data, print_line, print_text
from sevbuild.cli.tables import facts_text, text_table

if TYPE_CHECKING:
    from sevbuild.attest.verdict import Check
    from sevbuild.identity.signed_block import SignedBlock

__all__ = ["print_blocks", "print_checks"]


def print_blocks(fmt: str, blocks: Sequence[tuple[tuple[str, ...], SignedBlock]]) -> None:
    """Print blocks with the labels of their targets in a format."""
    if fmt == "json":
        from sevbuild.documents.json_text import json_text

        print_data(json_text({"schema": 1, "blocks": [_entry(labels, signed) for labels, signed in blocks]}))
        return
    for labels, signed in blocks:
        print_text(_TEXTS[fmt](labels, signed))


def _table(labels: tuple[str, ...], signed: SignedBlock) -> str:
    facts = [(key.replace("_", " "), str(said)) for key, said in _entry(labels, signed).items()]
    shown = [(name, value) for name, value in facts if name not in ("targets", "id block", "id auth")]
    return facts_text(", ".join(labels) or "an ID block", shown, 20)


def _base64(_: tuple[str, ...], signed: SignedBlock) -> str:
    from sevbuild.commands.id_block import base64_texts

    return "".join(f"{text}\n" for text in base64_texts(signed))


def _properties(_: tuple[str, ...], signed: SignedBlock) -> str:
    from sevbuild.commands.id_block import qemu_properties

    return ",".join(f"{name}={value}" for name, value in qemu_properties(signed)) + "\n"


def _elements(_: tuple[str, ...], signed: SignedBlock) -> str:
    from sevbuild.commands.id_block import libvirt_elements

    return libvirt_elements(signed)


_TEXTS = {"table": _table, "base64": _base64, "qemu": _properties, "libvirt": _elements}


def _entry(labels: tuple[str, ...], signed: SignedBlock) -> dict[str, Any]:
    from sevbuild.commands.id_block import base64_texts

    block, auth = signed
    texts = base64_texts(signed)
    return {
        "targets": list(labels),
        "launch_digest": block.launch_digest.hex(),
        "policy": hex(block.policy),
        "family_id": block.family_id.hex(),
        "image_id": block.image_id.hex(),
        "guest_svn": block.guest_svn,
        "version": block.version,
        "id_key_digest": auth.key.digest.hex(),
        "author_key_digest": None if auth.author is None else auth.author.key.digest.hex(),
        "id_block": texts[0],
        "id_auth": texts[1],
    }


def print_checks(source: str, checks: Sequence[Check]) -> None:
    """Print each check of a block, and how many of them hold."""
    rows = [(check.name, check.status, check.reason, check.found) for check in checks]
    print_text(text_table(("check", "", "reason", "found"), rows))
    counts = {
        status: sum(check.status == status for check in checks) for status in ("pass", "fail", "not checked")
    }
    left = [check.name for check in checks if check.status == "not checked"]
    text = f"{source}: {counts['pass']} pass, {counts['fail']} fail"
    print_line(text + (f", not checked: {', '.join(left)}" if left else ""))
