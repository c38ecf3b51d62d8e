"""The keys above a VCEK or VLEK, up to a root that is trusted: AMD's, which are pinned, or the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import NamedTuple

from sevbuild.attest import der
from sevbuild.attest.certificate import Certificate, Name, common_name
from sevbuild.attest.der import Reader
from sevbuild.attest.rsa_pss import Sealed, is_signed_by
from sevbuild.errors import SevbuildError
from sevbuild.identity.rsa import RsaPublicKey

__all__ = [
    "ROOT_PREFIX",
    "SIGNER_PREFIXES",
    "Anchors",
    "Signer",
    "amd_name",
    "find_anchors",
    "is_amd_name",
    "pinned_signer",
    "unknown_critical",
]

ROOT_PREFIX = "ARK-"
SIGNER_PREFIXES = {"VCEK": "SEV-", "VLEK": "SEV-VLEK-"}
"""What the name of the key that signs VEKs of a kind begins with, before the product's name."""

# VCEK specification 57230, 2 (the certificates' tables): all names of the chain but for the common name.
_AMD = (
    ("OU", "Engineering"),
    ("C", "US"),
    ("L", "Santa Clara"),
    ("ST", "CA"),
    ("O", "Advanced Micro Devices"),
)
# RFC 5280, 4.2.1.9 and 4.2.1.3.
_BASIC_CONSTRAINTS = "2.5.29.19"
_KEY_USAGE = "2.5.29.15"
_SIGNS_CERTIFICATES = 5


class Signer(NamedTuple):
    """One key above a VEK; `sha256` is of its certificate, `pinned` whether this program has it."""

    subject: Name
    issuer: Name
    serial: int
    not_before: datetime
    not_after: datetime
    sha256: bytes
    key: RsaPublicKey
    pinned: bool

    @property
    def name(self) -> str:
        """The common name."""
        return common_name(self.subject)

    def has_signed(self, sealed: Sealed) -> bool:
        """Tell whether the signature of a certificate or list is of this key."""
        return is_signed_by(sealed, self.key)


class Anchors(NamedTuple):
    """The key above a VEK and the root above that, or None and in `fault` why none is trusted."""

    keys: tuple[Signer, Signer] | None
    fault: str = ""


def amd_name(common: str) -> Name:
    """Return the whole of one of AMD's names."""
    return (*_AMD, ("CN", common))


def is_amd_name(name: Name, common: str) -> bool:
    """Tell whether a name is AMD's with this common name, in whatever order its parts stand."""
    return sorted(name) == sorted(amd_name(common))


def pinned_signer(common: str) -> Signer | None:
    """Return the key of AMD's with this common name, None where none is pinned."""
    from sevbuild.attest.amd_keys import KEYS

    for name, serial, not_before, not_after, digest, modulus in KEYS:
        if name == common:
            product = common.rpartition("-")[2]
            return Signer(
                amd_name(common),
                amd_name(ROOT_PREFIX + product),
                serial,
                _utc(not_before),
                _utc(not_after),
                bytes.fromhex(digest),
                RsaPublicKey(4096, 65537, int(modulus, 16)),
                pinned=True,
            )
    return None


def _pinned_pair(common: str) -> tuple[Signer, Signer] | None:
    """Return AMD's key with this name and the root above it, None where it has none."""
    signer = pinned_signer(common)
    root = signer and pinned_signer(common_name(signer.issuer))
    return (signer, root) if signer and root else None


def find_anchors(vek: Certificate, given: Sequence[Certificate], roots: Sequence[Certificate]) -> Anchors:
    """Return the keys above a VEK.

    Without `roots` these are AMD's, which are pinned: nothing that is given replaces them. With them, only
    what leads to one of them is trusted; what lies between may be given, or stand with the roots.
    """
    wanted = common_name(vek.issuer)
    pinned = _pinned_pair(wanted)
    if not roots:
        return Anchors(pinned, "" if pinned else f"no key of AMD's called {wanted or 'nothing'} is pinned")
    own = [one for one in roots if one.subject == one.issuer]
    if not own:
        raise SevbuildError(
            f"{roots[0].source}: it is no root: {common_name(roots[0].subject)} is issued by "
            f"{common_name(roots[0].issuer)}",
            hint="a root has signed itself, as an ARK does",
        )
    # Beside AMD's root another of its name may be given.
    amd = pinned is not None and any(one.sha256 == pinned[1].sha256 for one in own)
    if pinned is not None and amd and (len(own) == 1 or pinned[0].has_signed(vek)):
        return Anchors(pinned)
    found = Anchors(
        None, f"no certificate of {wanted or 'its issuer'} is given that leads to {own[0].source}"
    )
    for one in own:
        above, wrong = _as_signer(one, one)
        if above is None:
            found = Anchors(found.keys, wrong)
            continue
        for between in (*given, *roots):
            if between.subject == vek.issuer and between.issuer == one.subject and between is not one:
                signer, wrong = _as_signer(between, one)
                if signer is not None and signer.has_signed(vek):
                    return Anchors((signer, above))
                # One of the right name and another key is better than none: `chain` says what it is.
                found = Anchors(found.keys if signer is None else (signer, above), wrong)
    return found


def unknown_critical(certificate: Certificate, known: Sequence[str]) -> str:
    """Return an extension that must be understood and is not among those known, empty for none."""
    return next(
        (
            number
            for number, (critical, _value) in certificate.extensions.items()
            if critical and number not in known
        ),
        "",
    )


def _as_signer(certificate: Certificate, root: Certificate) -> tuple[Signer | None, str]:
    """Return a given certificate as a key that may sign, or why it may not."""
    name = f"{certificate.source}: {common_name(certificate.subject)}"
    if not isinstance(certificate.public_key, RsaPublicKey) or not isinstance(root.public_key, RsaPublicKey):
        return None, f"{name} has no RSA key"
    if not is_signed_by(certificate, root.public_key):
        return None, f"{name} is not signed by {common_name(root.subject)} (RSA-PSS, SHA-384)"
    unknown = unknown_critical(certificate, (_BASIC_CONSTRAINTS, _KEY_USAGE))
    if unknown:
        return None, f"{name} has the critical extension {unknown}, which is not known"
    if not _may_sign(certificate):
        return None, f"{name} is no authority: its extensions do not let it sign certificates"
    signer = Signer(
        certificate.subject,
        certificate.issuer,
        certificate.serial,
        certificate.not_before,
        certificate.not_after,
        certificate.sha256,
        certificate.public_key,
        pinned=False,
    )
    return signer, ""


def _may_sign(certificate: Certificate) -> bool:
    basic = certificate.extensions.get(_BASIC_CONSTRAINTS)
    usage = certificate.extensions.get(_KEY_USAGE)
    if basic is None or usage is None:
        return False
    whole = Reader(basic[1], f"{certificate.source}: basic constraints")
    constraints = whole.element()
    whole.finish()
    whole = Reader(usage[1], f"{certificate.source}: key usage")
    bits = whole.named_bits()
    whole.finish()
    return constraints.tag == der.BOOLEAN and constraints.boolean() and _SIGNS_CERTIFICATES in bits


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
