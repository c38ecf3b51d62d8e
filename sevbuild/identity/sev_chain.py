"""The chain of an SEV platform: whether its PDH belongs to a chip that AMD made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from sevbuild.documents.binary_text import base64_bytes
from sevbuild.documents.json_input import parse_json
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.identity.sev_certificate import AmdCertificate, SevCertificate, certificates_in
from sevbuild.identity.sev_roots import AmdRoot, amd_roots

__all__ = ["SevChain", "read_certificates", "verified_chain"]

_PLATFORM = ("PDH", "PEK", "OCA", "CEK")
_AMD = ("ASK", "ARK")


class SevChain(NamedTuple):
    """A chain whose signatures all hold, from the PDH to a root key of AMD's.

    `product` is what that root key is of. Whose OCA it is, and which chip, the signatures do not say:
    `fingerprints` do.
    """

    pdh: SevCertificate
    pek: SevCertificate
    oca: SevCertificate
    cek: SevCertificate
    ask: AmdCertificate
    ark: AmdCertificate
    product: str

    @property
    def fingerprints(self) -> dict[str, str]:
        """Return the SHA-256 of what is signed of each certificate, in hex, from the PDH up."""
        # Of the signed part alone: the signature of one certificate can be written in two ways.
        return {
            certificate.title: sha256(certificate.body).hexdigest()
            for certificate in (self.pdh, self.pek, self.oca, self.cek, self.ask, self.ark)
        }


def read_certificates(data: bytes, source: str) -> list[AmdCertificate | SevCertificate]:
    """Return the certificates in a file's contents, as a host's tools write them; raises SevbuildError.

    They stand one after the other, as they are or in base64; or in QEMU's answer to `query-sev-capabilities`,
    whose `cert-chain` has PEK, OCA and CEK.
    """
    text = data.decode("ascii", "replace").strip()
    if not text.startswith("{"):
        return [*certificates_in(base64_bytes(text) or data, source)]
    value = parse_json(source, data)
    answer = value.get("return", value) if isinstance(value, dict) else None
    found: list[AmdCertificate | SevCertificate] = []
    for key in ("pdh", "cert-chain"):
        part = answer.get(key) if isinstance(answer, dict) else None
        raw = base64_bytes(part) if isinstance(part, str) else None
        if not raw:
            raise SevbuildError(f"{source}: no {key} in base64, which query-sev-capabilities answers with")
        found += certificates_in(raw, f"{source}: {key}")
    return found


def verified_chain(
    certificates: Iterable[AmdCertificate | SevCertificate], roots: Sequence[AmdRoot] | None = None
) -> SevChain:
    """Return the chain that these certificates are, in whatever order they come.

    `roots` are trusted in place of AMD's. ASK and ARK may be absent: a known ASK that signed the CEK is
    taken. Raises SevbuildError for a certificate that is missing or there twice, and MismatchError, with
    every link that does not hold, for a chain that proves nothing.
    """
    trusted = amd_roots() if roots is None else roots
    found: dict[str, AmdCertificate | SevCertificate] = {}
    for certificate in certificates:
        other = found.setdefault(certificate.title, certificate)
        if other.key == certificate.key:
            # A CEK comes from the host without AMD's signature, and with it from AMD.
            if len(certificate.signers) > len(other.signers):
                found[certificate.title] = certificate
        else:
            raise SevbuildError(f"{certificate.title}: two different certificates, of which one is needed")
    platform = {title: one for title, one in found.items() if isinstance(one, SevCertificate)}
    lacking = [title for title in _PLATFORM if title not in platform]
    if lacking:
        hint = "`sevctl export` writes PDH, PEK, OCA and CEK into one file"
        hint = f"AMD's key service has it: {_CEK_SERVICE}" if lacking == ["CEK"] else hint
        raise SevbuildError(f"no {' and no '.join(lacking)} among the certificates", hint=hint)
    pdh, pek, oca, cek = (platform[title] for title in _PLATFORM)
    ask, ark, product = _authorities(found, cek, trusted)
    links = [
        ("the OCA is not signed by itself", oca.signed(oca)),
        ("the PEK is not signed by the OCA", oca.signed(pek)),
        ("the PEK is not signed by the CEK", cek.signed(pek)),
        ("the PDH is not signed by the PEK", pek.signed(pdh)),
        ("the CEK is not signed by the ASK", ask.signed(cek)),
        ("the ASK is not signed by the ARK", ark.signed(ask)),
        # Naples' own came without a signature once; what is held to the pinned one is all the rest.
        ("the ARK is not signed by itself", not ark.signature or ark.signed(ark)),
        ("the ARK is none of AMD's", product is not None),
    ]
    broken = [text for text, holds in links if not holds]
    if broken or product is None:
        raise MismatchError("the chain does not lead from this PDH to AMD:", details=broken, hint=_hint(cek))
    return SevChain(pdh, pek, oca, cek, ask, ark, product)


def _authorities(
    found: dict[str, AmdCertificate | SevCertificate], cek: SevCertificate, trusted: Sequence[AmdRoot]
) -> tuple[AmdCertificate, AmdCertificate, str | None]:
    """Return ASK, ARK and the product of the root, None where that is not trusted."""
    ask, ark = (found.get(title) for title in _AMD)
    if isinstance(ask, AmdCertificate) and isinstance(ark, AmdCertificate):
        product = next((root.product for root in trusted if root.ark.body == ark.body), None)
        return ask, ark, product
    if ask or ark:
        raise SevbuildError(
            f"{'an ASK' if ask else 'an ARK'} without its {'ARK' if ask else 'ASK'}",
            hint="without both, AMD's own are taken",
        )
    root = next((root for root in trusted if root.ask.signed(cek)), None)
    if root is None:
        raise MismatchError("the CEK is not signed by any ASK of AMD's", hint=_hint(cek))
    return root.ask, root.ark, root.product


def _hint(cek: SevCertificate) -> str | None:
    """Return what to do about a CEK that nobody has signed."""
    if cek.signers:
        return None
    return f"a host exports its CEK without AMD's signature; AMD's key service has it: {_CEK_SERVICE}"


_CEK_SERVICE = "https://kdsintf.amd.com/cek/id/ID, with the ID that `sevctl show identifier` prints"
