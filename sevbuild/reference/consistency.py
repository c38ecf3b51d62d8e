"""Whether reference values agree with themselves: each value with its label, ingredients and profile."""

from __future__ import annotations

from collections.abc import Iterator

from sevbuild.documents.document import NAME_REST
from sevbuild.documents.json_text import hex_text
from sevbuild.errors import MismatchError, Notice, SevbuildError
from sevbuild.igvm.loaders import LOADERS
from sevbuild.image.kernel_hashes import EMPTY_INITRD_DIGEST, cmdline_digest
from sevbuild.launch.label import cmdline_name, target_label
from sevbuild.launch.mode import MODES
from sevbuild.launch.policy import DEFAULT_POLICIES
from sevbuild.manifest.profiles import load_profile, profile_names
from sevbuild.manifest.template import Template, parse_template, target_values
from sevbuild.reference.changes import Change, Comparison, TargetChange, said
from sevbuild.reference.model import Ingredients, PublishedProfile, ReferenceValues, Value
from sevbuild.reference.recompute import NO_INGREDIENTS, Recomputer, UncheckableError, own_digest, why_not
from sevbuild.vcpu.models import CPU_MODELS, signature_text

__all__ = ["UNCHECKED", "check_consistent", "profile_notices", "verify_alone"]

UNCHECKED = "unchecked"
"""The status of a target whose digest the document alone cannot tell."""

_SHOWN = 20
_SEED = 48


def verify_alone(values: ReferenceValues) -> Comparison:
    """Return whether each value is what the document's own ingredients and profiles make of it.

    A target is `changed` where anything contradicts them, with what they give as the new value. Else it is
    `equal`, or `unchecked` with the reason why no ingredients tell its digest.
    """
    checker = _Checker(values)
    return Comparison((), tuple(checker.target(value) for value in values.values))


def check_consistent(source: str, values: ReferenceValues) -> None:
    """Raise MismatchError for a document that contradicts itself; what it cannot tell is no contradiction."""
    found = [target for target in verify_alone(values).targets if target.status == "changed"]
    if not found:
        return
    details = [f"{target.label}: {_said(change)}" for target in found[:_SHOWN] for change in target.changes]
    if len(found) > _SHOWN:
        details.append(f"and {len(found) - _SHOWN} more targets")
    raise MismatchError(
        f"{source}: {len(found)} of {len(values.values)} values contradict the document itself:",
        details=details,
        hint="`sevbuild verify` shows all of them; no release should be made of it",
    )


def profile_notices(source: str, values: ReferenceValues) -> list[Notice]:
    """Return a warning for each profile that has the name of a shipped one and launches differently."""
    shipped, found = set(profile_names()), []
    for profile in values.profiles:
        # A merge names the profiles of a release after it.
        name = profile.name.partition("@")[0]
        if name in shipped:
            ours, said = load_profile(name).rules.launch, profile.launch
            other = [key for key in ours._fields if getattr(said, key) != getattr(ours, key)]
            if other:
                message = f"profile {profile.name} is not the one of this release: {', '.join(other)}"
                hint = "the digests were held to the document's; --against measures with the shipped one"
                found.append(Notice("warning", source, message, hint))
    return found


def _said(change: Change) -> str:
    if change.old is None and change.new is None:
        return change.what
    return f"{change.what} is {said(change.old)}, the rest of the document gives {said(change.new)}"


class _Checker:
    """One document, and what several of its values have in common."""

    def __init__(self, values: ReferenceValues) -> None:
        self._of_file = values.of_file
        self._ingredients = {entry.name: entry for entry in values.ingredients}
        self._profiles = {profile.name: profile for profile in values.profiles}
        self._recomputer = Recomputer({profile.name: profile.launch for profile in values.profiles})
        self._templates: dict[str, Template] = {}
        self._within: dict[str, tuple[Change, ...]] = {}

    def target(self, value: Value) -> TargetChange:
        """Return what became of one value."""
        entry = None if value.ingredients is None else self._ingredients[value.ingredients]
        changes = list(self._contradictions(value, entry))
        digest = None
        reason = NO_INGREDIENTS if entry is None else why_not(entry)
        if entry is not None and reason is None:
            try:
                digest = own_digest(self._recomputer, entry, value)
            except UncheckableError as error:
                reason = error.message
            except SevbuildError as error:
                changes.append(Change(f"its ingredients cannot be launched: {error.message}", None, None))
        if digest not in (None, value.digest):
            changes.append(Change("digest", value.digest.hex(), (digest or b"").hex()))
        status = "equal"
        if changes:
            status = "changed"
        elif digest is None:
            status, changes = UNCHECKED, [Change(reason or "", None, None)]
        return TargetChange(value.label, status, value.digest, digest, tuple(changes))

    def _contradictions(self, value: Value, entry: Ingredients | None) -> Iterator[Change]:
        """Yield each value that is not what others of the document make of it."""
        yield from _of_itself(value)
        if self._of_file:
            yield from _of_loader(value)
        elif entry is not None:
            profile = self._profiles[entry.profile]
            for what, own, derived in self._derived(value, entry, profile):
                if own != derived:
                    yield Change(what, own, derived)
            if entry.name not in self._within:
                self._within[entry.name] = tuple(_of_ingredients(entry, profile))
            yield from self._within[entry.name]

    def _derived(
        self, value: Value, entry: Ingredients, profile: PublishedProfile
    ) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield settings as the value has them, and as its ingredients give them."""
        # A merge names the profiles of a release after it.
        base = entry.profile.partition("@")[0]
        yield "profile", value.profile, base if value.profile == base else entry.profile
        yield "mode", value.mode, entry.mode
        yield "order", value.order, entry.order
        yield "kernel_hashes", str(value.kernel_hashes).lower(), str(entry.kernel is not None).lower()
        gpa = profile.launch.vmsa_gpa if value.mode == "snp" else None
        yield "vmsa_gpa", hex_text(value.vmsa_gpa), hex_text(gpa)
        if value.mode != "sev" and value.guest_features is None:
            yield "guest_features", None, f"those of a guest of mode {value.mode}"
        if entry.kernel is not None and entry.kernel.cmdline is not None:
            text = entry.kernel.cmdline
            template = self._templates.get(text) or self._templates.setdefault(text, parse_template(text))
            filled = template.fill(target_values(value.cpu, value.signature or 0, value.vcpus))
            yield "cmdline", value.cmdline, filled
            if entry.kernel.cmdline_sha256 is not None:
                digest = cmdline_digest(filled.encode())
                yield "kernel.cmdline_sha256", entry.kernel.cmdline_sha256.hex(), digest.hex()
        elif entry.kernel is not None and not _may_be_line(value.cmdline, entry.kernel.cmdline_sha256):
            yield "cmdline", value.cmdline, "another one"


def _may_be_line(text: str | None, digest: bytes | None) -> bool:
    """Tell whether a value's command line may be the one with this SHA-256, which is not UTF-8."""
    if text is None:
        return False
    # Bytes that are none stand as escapes, which somebody may also have written as such.
    return digest is None or "\\x" in text or cmdline_digest(text.encode()) == digest


def _of_itself(value: Value) -> Iterator[Change]:
    """Yield what within one value contradicts the rest of it."""
    own = target_label(value.mode, value.profile, value.cpu, value.vcpus)
    name = cmdline_name(value.label, own)
    if name is None or not set(name) <= NAME_REST:
        yield Change("label", value.label, own)
    known = CPU_MODELS.get(value.cpu)
    signature = None if value.signature is None else signature_text(value.signature)
    if known is not None and value.signature != known.signature:
        yield Change(f"signature of {value.cpu}", signature, signature_text(known.signature))
    elif value.cpu.startswith("0x") and value.cpu != signature:
        yield Change("cpu", value.cpu, signature)
    if value.mode == "sev" and value.guest_features is not None:
        yield Change("guest_features", hex_text(value.guest_features), None)
    if value.mode != "snp" and value.vmsa_gpa is not None:
        yield Change("vmsa_gpa", hex_text(value.vmsa_gpa), None)
    if not value.kernel_hashes and value.cmdline is not None:
        yield Change("cmdline", value.cmdline, None)
    if value.policy_origin.startswith("default of "):
        mode = value.policy_origin.removeprefix("default of ").removeprefix("mode ")
        if mode in MODES and (mode, value.policy) != (value.mode, DEFAULT_POLICIES[value.mode]):
            yield Change("policy, which is by default", hex(value.policy), hex(DEFAULT_POLICIES[value.mode]))


def _of_loader(value: Value) -> Iterator[Change]:
    """Yield what a value of an IGVM file says otherwise than its loader does."""
    loader = LOADERS.get(value.profile)
    if loader is None:
        return
    if value.mode not in loader.modes:
        yield Change("mode", value.mode, ", ".join(loader.modes))
    if value.order != loader.order:
        yield Change("order", value.order, loader.order)
    if value.kernel_hashes and loader.hash_page is None:
        yield Change("kernel_hashes", "true", "false")
    gpa = loader.vmsa_gpa if value.mode == "snp" and value.vcpus else None
    if gpa not in (None, value.vmsa_gpa):
        yield Change("vmsa_gpa", hex_text(value.vmsa_gpa), hex_text(gpa))


def _of_ingredients(entry: Ingredients, profile: PublishedProfile) -> Iterator[Change]:
    """Yield what within one set of ingredients contradicts the rest of it."""
    if entry.mode not in profile.launch.regions:
        yield Change(f"profile {profile.name} does not launch guests of mode {entry.mode}", None, None)
    kernel, inputs = entry.kernel, entry.inputs
    firmware = inputs.get("firmware", b"")
    # Of a firmware known by its seed; an SVSM's pages come after it.
    if entry.svsm is None and entry.seed not in (None, firmware) and len(firmware) == _SEED:
        yield Change("seed", (entry.seed or b"").hex(), firmware.hex())
    if kernel is None:
        return
    for what, own, named in (
        ("kernel.sha256", kernel.kernel, inputs.get("kernel", kernel.kernel)),
        ("kernel.initrd_sha256", kernel.initrd, inputs.get("initrd", EMPTY_INITRD_DIGEST)),
    ):
        if own != named:
            yield Change(what, own.hex(), named.hex())
