"""A signed ID block as QEMU and libvirt take it: properties of a guest object, elements of a domain."""

from __future__ import annotations

from base64 import b64encode

from sevbuild.identity.signed_block import SignedBlock

__all__ = ["base64_texts", "libvirt_elements", "qemu_properties"]


def base64_texts(signed: SignedBlock) -> tuple[str, str]:
    """Return block and authentication in base64, as both QEMU and libvirt want them."""
    block, auth = (b64encode(data).decode() for data in (signed.block.encode(), signed.auth.encode()))
    return block, auth


def qemu_properties(signed: SignedBlock) -> list[tuple[str, str]]:
    """Return the properties of `sev-snp-guest` (QEMU 10.2 qapi/qom.json: SevSnpGuestProperties)."""
    block, auth = base64_texts(signed)
    found = [("id-block", block), ("id-auth", auth)]
    return found if signed.auth.author is None else [*found, ("author-key-enabled", "on")]


def libvirt_elements(signed: SignedBlock) -> str:
    """Return the elements for a domain's `launchSecurity` of type `sev-snp` (libvirt 10.5), a line each."""
    block, auth = base64_texts(signed)
    said = "" if signed.auth.author is None else "<!-- launchSecurity has authorKey='yes' -->\n"
    return f"{said}<idBlock>{block}</idBlock>\n<idAuth>{auth}</idAuth>\n"
