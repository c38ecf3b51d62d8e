"""Join a guest and its lock: what there is to lock, and what has changed since."""

from __future__ import annotations

import os
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from sevbuild import __version__
from sevbuild.errors import MismatchError, Notice, SevbuildError
from sevbuild.fs import read_text
from sevbuild.guest.guest import Guest
from sevbuild.guest.inputs import FoundInput
from sevbuild.guest.lock_changes import lock_changes
from sevbuild.guest.unheld import unheld_settings
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.lock import Lock, LockedInput, decode_lock
from sevbuild.manifest.model import Variant
from sevbuild.manifest.profile_digest import profile_digest
from sevbuild.manifest.targets import Target

__all__ = ["LockCheck", "lock_path", "resolve_lock"]

_SHOWN = 20


def lock_path(manifest: str) -> str:
    """Return where the lock of a manifest lies: beside it, `guest.lock` for `guest.toml`."""
    if manifest == "-":
        raise SevbuildError(
            "a manifest on standard input has no lock beside it",
            hint="--lock names one for --locked; `lock -o FILE` writes one, `lock -o -` prints it",
        )
    return os.path.splitext(manifest)[0] + ".lock"


class LockCheck:
    """One run held to a lock; the lock is read at once, and before any input is.

    `manifest` and `settings` are what the command was called with: they make the command that brings
    the lock up to date. Without a lock, `frozen` raises SevbuildError, else it is a MismatchError.
    """

    def __init__(
        self, manifest: str, *, path: str = "", settings: Sequence[str] = (), frozen: bool = False
    ) -> None:
        self.path = path or lock_path(manifest)
        self._settings = tuple(settings)
        words = ["sevbuild", "lock", manifest]
        words += ["-o", path] if path else []
        for setting in settings:
            words += ["--set", setting]
        self._refresh = f"`{shlex.join(words)}` updates it"
        if not os.path.exists(self.path):
            hint = f"`{shlex.join(words)}` writes one"
            if frozen:
                raise SevbuildError(f"--frozen requires {self.path}, which does not exist", hint=hint)
            raise MismatchError(f"the lock {self.path} does not exist", hint=hint)
        self._lock = decode_lock(read_text(self.path), self.path)

    def __call__(self, guest: Guest, targets: Sequence[Target], *, everything: bool = False) -> None:
        """Raise MismatchError naming all that differs from what these targets are made of.

        With all targets, what the lock has beyond them counts too. Inputs that enter no digest are read
        only for `everything`; else only their names are compared.
        """
        found = resolve_lock(guest, targets, everything=everything)
        changes = lock_changes(self._lock, found, whole=len(targets) == len(guest.targets))
        if len(changes) == 1:
            raise MismatchError(f"{self.path} is stale: {changes[0]}", hint=self._refresh)
        if changes:
            details = changes[:_SHOWN]
            details += [f"and {len(changes) - _SHOWN} more"] if len(changes) > _SHOWN else []
            message = f"{self.path} is stale, {len(changes)} changes:"
            raise MismatchError(message, hint=self._refresh, details=details)
        guest.notices.extend(self.unheld(targets))

    def unheld(self, targets: Sequence[Target]) -> list[Notice]:
        """Return a warning for each setting that the lock does not hold these targets to."""
        labels = all(target.label in self._lock.cmdlines for target in targets)
        return unheld_settings(self._settings, self.path, labels=labels)


def resolve_lock(guest: Guest, targets: Sequence[Target], *, everything: bool = False) -> Lock:
    """Return what the lock of these targets is, from the digests that this run has computed.

    An input that enters no digest is hashed only for `everything`.
    """
    inputs: dict[LockedInput, None] = {}
    for variant in dict.fromkeys(target.variant for target in targets):
        inputs.update(dict.fromkeys(_inputs(guest, variant, everything=everything)))
    used = {target.profile for target in targets}
    return Lock(
        written_by=__version__,
        inputs=tuple(inputs),
        profiles={
            name: profile_digest(profile) for name, profile in _profiles(guest).items() if profile in used
        },
        cpus={target.cpu.label: target.cpu.signature for target in targets},
        cmdlines={
            target.label: guest.kernels.cmdline(target) for target in targets if _has_cmdline(target.variant)
        },
    )


def _has_cmdline(variant: Variant) -> bool:
    # An image that is launched in parts but not measured is locked whole.
    kernel = variant.kernel
    return kernel is not None and (kernel.hashes or kernel.uki_as != "parts")


def _profiles(guest: Guest) -> Mapping[str, LaunchProfile]:
    """Return the profiles by the names that the manifest gives them."""
    loaded: dict[Variant, dict[LaunchProfile, None]] = defaultdict(dict)
    for target in guest.targets:
        loaded[target.variant][target.profile] = None
    return {
        name: profile
        for variant, profiles in loaded.items()
        for name, profile in zip(variant.profiles, profiles, strict=True)
    }


def _inputs(guest: Guest, variant: Variant, *, everything: bool) -> Iterator[LockedInput]:
    for declared in variant.inputs:
        # An image that is taken apart is locked in its parts where they are measured, else as a whole.
        if not declared.launched if declared.measured else declared.part:
            continue
        found: FoundInput | None = FoundInput(declared)
        if declared.measured or everything or guest.reader.is_found(declared):
            found = guest.found(declared)
        if found is not None:
            role, name = declared.role.name, declared.name
            yield LockedInput(role, name, declared.part, found.size, found.digest)
