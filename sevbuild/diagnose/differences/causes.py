"""What two sides say otherwise of one target, as causes; what follows from one is none of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from sevbuild.diagnose.differences.cmdlines import compare_lines, shown_line
from sevbuild.diagnose.differences.input_files import input_change
from sevbuild.diagnose.differences.kernels import FileChange
from sevbuild.diagnose.differences.launch_sides import LaunchSide
from sevbuild.diagnose.differences.model import DIGEST, LAUNCH, NOTE, Cause, Detail, Level
from sevbuild.diagnose.differences.registers import features_text, policy_text
from sevbuild.launch.label import label_parts
from sevbuild.launch.mode import MODES
from sevbuild.manifest.inputs import ROLES
from sevbuild.reference.changes import DIFFERENCE, Change

__all__ = ["KERNEL_HASHES", "LAY_OUT", "Known", "TargetPair", "guest_causes", "target_causes"]

Known = dict[tuple[str, str | None, str | None], FileChange | None]
"""What was found of two files before, by their role and what documents call them: files are read once."""

_FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "firmware": ("seed", "reset", "hash_table", "sections"),
    "svsm": ("seed", "sections", "svsm"),
    "mode": ("seed", "sections", "vmsa_gpa", "algorithm", "svsm"),
    "order": ("seed",),
    "profile": ("vmsa_gpa",),
    "kernel_hashes": ("kernel", "cmdline", "inputs.kernel", "inputs.initrd", "kernel.cmdline"),
}
"""What is a consequence of another change of the same target, by the word that a change begins with."""

_TITLES: Mapping[str, str] = {
    "mode": "mode",
    "order": "order of the launch",
    "kernel_hashes": "kernel hashes",
    "vcpus": "vCPU count",
    "cpu": "CPU model",
    "signature": "CPU signature",
    "guest_features": "guest features (SEV_FEATURES)",
    "vmsa_gpa": "address of the VMSAs",
    "sections": "SEV metadata sections",
    "reset": "address at which application processors start",
    "hash_table": "address of the kernel-hashes table",
    "seed": "digest after the firmware",
    "policy": "policy",
    "host_data": "host data",
}
"""Settings in words, in the order in which they are told."""

KERNEL_HASHES = _TITLES["kernel_hashes"]
LAY_OUT = (_TITLES["mode"], _TITLES["order"])
"""Titles of what lays a whole launch out in another way."""

_ENTERS_NO_DIGEST = ("policy", "host_data", "id_block", "machine", "doubts")
"""What is launched with a guest, or attested of it, and is no part of its launch digest."""


class TargetPair:
    """Two targets that are compared, and what is known of them on either side."""

    def __init__(
        self,
        labels: tuple[str, str],
        sides: tuple[LaunchSide, LaunchSide],
        known: Known,
        *,
        same_digest: bool,
    ) -> None:
        self.labels = labels
        self.sides = sides
        self.known = known
        self.same_digest = same_digest

    @property
    def entering(self) -> Level:
        """Return the level of what may enter the digest: with the same digest, it did not."""
        return LAUNCH if self.same_digest else DIGEST

    def where(self, what: str) -> tuple[str, str]:
        """Return where each side says something."""
        old, new = (side.where(label, what) for side, label in zip(self.sides, self.labels, strict=True))
        return old, new

    def files(self, role: str, change: Change) -> FileChange | None:
        """Return what differs between the files of an input, None where one is not at hand."""
        key = (role, change.old, change.new)
        if key not in self.known:
            old, new = (
                side.contents(label, role) for side, label in zip(self.sides, self.labels, strict=True)
            )
            self.known[key] = input_change(role, old, new)
        return self.known[key]


def target_causes(pair: TargetPair, changes: Sequence[Change]) -> list[Cause]:
    """Return the causes among what differs of two targets: inputs first, then settings, then names."""
    found = {change.what: change for change in changes}
    measured_alike = "kernel_hashes" not in found
    found.pop("nothing but the digest", None)
    causes: list[Cause] = []
    profile = _profile_cause(pair, found)
    _drop_consequences(found)
    for role in ROLES:
        change = found.pop(f"inputs.{role}", None)
        if change is not None:
            causes.append(_input_cause(pair, role, change))
    causes += _cmdline_causes(pair, found)
    settings = [*_mode_cause(pair, found)]
    settings += [_setting_cause(pair, found[what]) for what in _ordered(found)]
    causes += _named_first(settings, profile)
    causes += _unpublished_causes(pair, measured_alike=measured_alike)
    return sorted(causes, key=lambda cause: (DIGEST, LAUNCH, NOTE).index(cause.level))


def guest_causes(pair: TargetPair, changes: Sequence[Change], roles: Collection[str]) -> Iterator[Cause]:
    """Yield what differs of guest and inputs as a whole, without the `roles` that targets say more of.

    `pair` is any of the targets: what they have at hand of an input is compared where it is the only one.
    """
    whats = {change.what for change in changes}
    # Other contents that have another size are one change.
    told = [change for change in changes if change.what.removesuffix(" size") not in whats - {change.what}]
    inputs = Counter(map(_role, told))
    for change in told:
        role = _role(change)
        differs = change.level == DIFFERENCE
        if not role:
            yield Cause("name", change.what, LAUNCH if differs else NOTE, change.old, change.new)
        elif differs and role in roles:
            continue
        elif role in ROLES and inputs[role] == 1 and change.what.count(" ") <= _NAMED_INPUT:
            yield _input_cause(pair, role, change)
        else:
            level = pair.entering if differs else NOTE
            yield Cause(role, change.what.removeprefix("input "), level, change.old, change.new)


_NAMED_INPUT = 2
"""The spaces of a change that is of an input's contents: `input firmware OVMF.fd`."""


def _role(change: Change) -> str:
    role = change.what.split(" ")[1] if change.what.startswith("input ") else ""
    return ROLES[role].launched_as if role in ROLES else role


def _drop_consequences(found: dict[str, Change]) -> None:
    for cause, effects in _FOLLOWS.items():
        if not any(what in found for what in (cause, f"inputs.{cause}")):
            continue
        for what in list(found):
            if what != f"inputs.{cause}" and any(
                what == effect or what.startswith(f"{effect}.") for effect in effects
            ):
                del found[what]
    if "cpu" not in found or "signature" not in found:
        return
    found["cpu"] = Change(
        "cpu",
        *(
            f"{cpu} ({signature})"
            for cpu, signature in zip(found["cpu"][1:3], found.pop("signature")[1:3], strict=True)
        ),
    )


def _ordered(found: Mapping[str, Change]) -> list[str]:
    known = [what for what in _TITLES if what in found]
    return known + [what for what in found if what not in known]


def _named_first(settings: list[Cause], profile: Cause | None) -> list[Cause]:
    """Return settings with the profile after the mode and the order, which say more than it."""
    if profile is None:
        return settings
    at = sum(cause.title in (_TITLES["mode"], _TITLES["order"]) for cause in settings)
    return [*settings[:at], profile, *settings[at:]]


def _profile_cause(pair: TargetPair, found: dict[str, Change]) -> Cause | None:
    """Return what differs of two profiles by dotted path, which is taken from what was found."""
    name = found.pop("profile", None)
    values = [found.pop(what) for what in list(found) if what.startswith("profile ")]
    modes = {label_parts(label).get("mode", "") for label in pair.labels}
    profiles = [side.profile(label) for side, label in zip(pair.sides, pair.labels, strict=True)]
    other_modes = {mode.replace("-", "_") for mode in MODES} - {mode.replace("-", "_") for mode in modes}
    if any(change.what == "profile sections_last" for change in values):
        found.pop("sections", None)
    if name is not None or "order" in found:
        found.pop("doubts", None)
    details = []
    for change in values:
        path = change.what.removeprefix("profile ")
        if set(path.replace("-", "_").split(".")) & other_modes:
            continue
        key = _profile_key(path)
        sources = [profile.prose.source(key) for profile in profiles if profile is not None]
        details.append(Detail(key, change.old, change.new, "; ".join(dict.fromkeys(filter(None, sources)))))
    origin = found.get("origins.guest_features")
    if origin is not None and all((text or "").startswith("profile ") for text in origin[1:3]):
        del found["origins.guest_features"]
        features = found.pop("guest_features", None)
        if features is not None:
            old, new = _features(features.old), _features(features.new)
            details.insert(0, Detail(f"guest-features.{min(modes)}.default", old, new))
    if name is None and not details:
        return None
    title = "profile"
    if all(side.of_file for side in pair.sides):
        title = "loader"
        order = found.pop("order", None)
        details += [] if order is None else [Detail("order", order.old, order.new)]
    old, new = (None, None) if name is None else (name.old, name.new)
    where = pair.where("profile")
    return Cause("profile", title, pair.entering, old, new, where, tuple(details))


def _profile_key(path: str) -> str:
    """Return the path of a value in a profile, of its path in a document."""
    head, _, rest = path.partition(".")
    tables = {"page_types": "page-types", "entry": "entry", "initial_state": "initial-state"}
    if head in tables:
        return f"{tables[head]}.{rest.replace('_', '-')}" if rest else tables[head]
    return f"launch.{path.replace('_', '-')}"


def _input_cause(pair: TargetPair, role: str, change: Change) -> Cause:
    level = NOTE if change.level != DIFFERENCE else pair.entering
    title, details = role, tuple[Detail, ...]()
    if change.old is None or change.new is None:
        title = f"{role} {'added' if change.old is None else 'removed'}"
    elif change.level == DIFFERENCE:
        found = pair.files(role, change)
        if found is not None:
            title, details = f"{role}: {found.title}", found.details
    return Cause(role, title, level, change.old, change.new, pair.where(role), details)


def _cmdline_causes(pair: TargetPair, found: dict[str, Change]) -> Iterator[Cause]:
    change = found.pop("cmdline", None)
    for what in [what for what in found if what.startswith("kernel.cmdline")]:
        other = found.pop(what)
        if change is None:
            level = NOTE if other.level != DIFFERENCE else pair.entering
            yield Cause("cmdline", what.replace("_", " "), level, other.old, other.new)
    if change is None:
        return
    templates = [side.template(label) for side, label in _each(pair)]
    # The sides know it to the byte where a document has it as text.
    lines = [side.cmdline(label) for side, label in _each(pair)]
    if None not in (*templates, *lines):
        if templates[0] == templates[1]:
            # Only the vCPU count, or the CPU, in it is another.
            return
        lines = templates
    old, new = (line if line is not None else text for line, text in zip(lines, change[1:3], strict=True))
    if old is None or new is None:
        yield Cause("cmdline", "command line", pair.entering, old, new, pair.where("cmdline"))
        return
    compared = compare_lines(old, new)
    title = f"command line: {compared.title}"
    shown = shown_line(old), shown_line(new)
    yield Cause(
        "cmdline", title, pair.entering, *shown, where=pair.where("cmdline"), details=compared.details
    )


def _mode_cause(pair: TargetPair, found: dict[str, Change]) -> Iterator[Cause]:
    """Yield another mode with what comes with it: a policy and features of its own."""
    change = found.pop("mode", None)
    if change is None:
        return
    details = []
    for what in ("policy", "guest_features"):
        found.pop(f"origins.{what}", None)
        if what in found:
            cause = _setting_cause(pair, found.pop(what))
            details.append(Detail(cause.title, cause.old, cause.new, "it comes with the mode"))
    where = pair.where("mode")
    yield Cause("setting", _TITLES["mode"], pair.entering, change.old, change.new, where, tuple(details))


def _setting_cause(pair: TargetPair, change: Change) -> Cause:
    what = change.what
    head = what.partition(".")[0]
    level = pair.entering
    if change.level != DIFFERENCE:
        level = NOTE
    elif head in _ENTERS_NO_DIGEST:
        level = LAUNCH
    old, new = change.old, change.new
    if what == "guest_features":
        old, new = _features(old), _features(new)
    elif what == "policy":
        old, new = (_policy(text, label) for text, label in zip((old, new), pair.labels, strict=True))
    title = _TITLES.get(what, what.replace("id_block.", "ID block ").replace("_", " "))
    return Cause("setting", title, level, old, new, pair.where(what))


def _unpublished_causes(pair: TargetPair, *, measured_alike: bool) -> Iterator[Cause]:
    old, new = (side.unpublished(label) for side, label in _each(pair))
    if old is None or new is None:
        return
    for what in dict.fromkeys([*old, *new]):
        # A kernel that is measured on one side alone is not listed for the other.
        if old.get(what) != new.get(what) and (measured_alike or "," not in what):
            role = what.partition(",")[0]
            where = pair.where(role if role in ROLES else what)
            title = _TITLES.get(what, what)
            yield Cause("setting", title, LAUNCH, old.get(what), new.get(what), where)


def _each(pair: TargetPair) -> Iterator[tuple[LaunchSide, str]]:
    return zip(pair.sides, pair.labels, strict=True)


def _features(text: str | None) -> str | None:
    return text if text is None else features_text(int(text, 16))


def _policy(text: str | None, label: str) -> str | None:
    snp = label_parts(label).get("mode") == "snp"
    return text if text is None else policy_text(int(text, 16), snp=snp)
