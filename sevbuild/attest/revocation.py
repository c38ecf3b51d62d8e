"""Whether a key above a VEK was revoked, by lists that its root has signed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sevbuild.attest.anchors import Anchors, Signer
from sevbuild.attest.certificate import common_name
from sevbuild.attest.crl import Crl
from sevbuild.attest.verdict import Check, failed, not_checked, passed

__all__ = ["check_revocation"]

_NAME = "revocation"


def check_revocation(anchors: Anchors, crls: Sequence[Crl], at: datetime) -> Check:
    """Hold the keys above a VEK to the lists that are given, each of which must be its root's and current.

    Lists of other roots are passed over where one is of this root. A VEK itself is in no list: its serial
    number is 0, and what outdates it is its TCB.
    """
    if not crls:
        return not_checked(_NAME, "no list of revoked certificates is given")
    if anchors.keys is None:
        return not_checked(_NAME, "no key above the VEK is trusted")
    signer, root = anchors.keys
    own = [crl for crl in crls if crl.issuer == root.subject]
    if not own:
        theirs = ", ".join(sorted({common_name(crl.issuer) or "nobody" for crl in crls}))
        return failed(_NAME, f"no list given is of {root.name}", found=theirs, wanted=root.name)
    for crl in own:
        fault = _fault(crl, root, at)
        if fault:
            return failed(_NAME, f"{crl.source}: {fault}")
        for key in (signer, root):
            if key.serial in crl.revoked:
                since = crl.revoked[key.serial]
                return failed(_NAME, f"{crl.source}: {key.name} is revoked since {since:%Y-%m-%d}")
    stale = min(crl.next_update for crl in own if crl.next_update is not None)
    names = f"{signer.name} and {root.name}"
    return passed(_NAME, f"{names} are not on the list of {root.name}, which holds until {stale:%Y-%m-%d}")


def _fault(crl: Crl, root: Signer, at: datetime) -> str:
    """Return what is wrong with a list that should be the root's, empty for nothing."""
    if not root.has_signed(crl):
        return f"it is not signed by {root.name} (RSA-PSS, SHA-384)"
    if crl.critical:
        return f"it has the critical extension {crl.critical[0]}, which is not known"
    if crl.next_update is None:
        return "it does not say when it gets stale (nextUpdate)"
    if at < crl.this_update:
        return f"it is of the future: it holds from {crl.this_update:%Y-%m-%d %H:%M}"
    if at > crl.next_update:
        return f"it is stale: it held until {crl.next_update:%Y-%m-%d %H:%M}"
    return ""
