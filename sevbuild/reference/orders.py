"""Whether what a document publishes can be launched in the order that it was measured in."""

from __future__ import annotations

from sevbuild.errors import Notice, SevbuildError
from sevbuild.manifest.profiles import load_profile, profile_names
from sevbuild.reference.model import ReferenceValues

__all__ = ["check_orders"]


def check_orders(source: str, values: ReferenceValues, *, publishing: bool) -> list[Notice]:
    """Return a warning for each profile of whose launches in canonical order the document cannot tell.

    A shipped profile whose hosts launch in an order of their own is a warning too; where the document is
    about to be published, raises SevbuildError: nothing launches what would be.
    """
    canonical: dict[str, str] = {}
    for value in values.values:
        if value.order == "canonical":
            canonical.setdefault(value.profile, value.label)
    shipped = profile_names() if canonical else []
    notices = []
    for name, label in canonical.items():
        if name not in shipped:
            message = f"canonical order: the document does not say what replays the list for profile {name}"
            notices.append(Notice("warning", f"{source}: {label}", message))
        elif not load_profile(name).rules.launches_in_canonical_order:
            message = f"canonical order: profile {name} names no loader that replays the list"
            hint = 'measure again with order = "profile"'
            if publishing:
                raise SevbuildError(f"{source}: {label}: {message}", hint=hint)
            notices.append(Notice("warning", f"{source}: {label}", message, hint))
    return notices
