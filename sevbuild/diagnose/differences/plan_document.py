"""Launch plans as `sevbuild plan --format json` writes them, read back: untrusted, and without contents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from sevbuild.documents.document import U64
from sevbuild.documents.json_input import JsonDocument, parse_json
from sevbuild.documents.json_reader import Reader, as_objects
from sevbuild.errors import SevbuildError
from sevbuild.launch.label import fold_labels
from sevbuild.launch.mode import MODES
from sevbuild.launch.page_type import PageType, page_type_named
from sevbuild.launch.plan import LaunchPlan
from sevbuild.launch.update import LaunchUpdate

__all__ = ["RecordedPlan", "is_plan_document", "read_plan_document"]

_WORDS = tuple(kind.label for kind in PageType)
_COMMANDS = {"data": PageType.NORMAL, "vmsa": PageType.VMSA}
"""What SEV and SEV-ES have in place of a page type, and what stands for it in a launch plan."""


class RecordedPlan(NamedTuple):
    """One launch plan of a document, and the launch digest after each of its updates.

    `data` of an update is not its contents, but their digest; `seed` and `policy` are as in LaunchPlan.
    """

    label: str
    profile: str
    order: str
    guest_features: int | None
    plan: LaunchPlan
    digests: tuple[bytes, ...]

    @property
    def digest(self) -> bytes:
        """Return the launch digest."""
        return self.digests[-1]


def is_plan_document(source: str, data: bytes) -> bool:
    """Tell whether a JSON document is one launch plan or a list of them; raises SevbuildError for no JSON."""
    if b'"updates"' not in data:
        return False
    raw = parse_json(source, data)
    first = raw[0] if isinstance(raw, list) and raw else raw
    return isinstance(first, Mapping) and {"label", "updates"} <= first.keys()


def read_plan_document(source: str, data: bytes) -> list[RecordedPlan]:
    """Return the launch plans of a document; raises FaultsError or SevbuildError naming its places."""
    raw = parse_json(source, data)
    document = JsonDocument(source)
    top: dict[str, Any] = {"plans": raw if isinstance(raw, list) else [raw]}
    plans = [_plan(table) for table in as_objects(Reader(document, top), "plans", least=1)]
    document.raise_faults()
    labels = [plan.label for plan in plans]
    if len(set(labels)) != len(labels):
        raise SevbuildError(f"{source}: two launch plans have one label")
    return plans


def _plan(table: Reader) -> RecordedPlan:
    mode = table.word("mode", MODES)
    snp = mode == "snp"
    label = table.name("label")
    table.document.attempt(table.at("label"), fold_labels, [label])
    profile, order = table.name("profile"), table.name("order")
    policy = table.number("policy", U64)
    features = table.nullable("guest_features", lambda key: table.number(key, U64))
    seed = table.nullable("seed", lambda key: table.hex(key, 48))
    table.word("algorithm", ("sha384",) if snp else ("sha256",))
    regions: list[LaunchUpdate] = []
    vmsas: list[LaunchUpdate] = []
    digests = []
    for number, entry in enumerate(as_objects(table, "updates", least=1)):
        if entry.integer("index", 0, U64) != number:
            entry.fault("index", "must count from 0")
        update = _update(entry, snp=snp)
        digests.append(entry.hex("launch_digest", 48 if snp else 32))
        entry.finish()
        if vmsas and update.page_type is not PageType.VMSA:
            # An IGVM file may have further pages after a VMSA; a plan keeps its own order all the same.
            regions, vmsas = [*regions, *vmsas], []
        (vmsas if update.page_type is PageType.VMSA else regions).append(update)
    table.finish()
    plan = LaunchPlan(mode, policy, seed, tuple(regions), tuple(vmsas))
    return RecordedPlan(label, profile, order, features, plan, tuple(digests))


def _update(table: Reader, *, snp: bool) -> LaunchUpdate:
    word = table.word("page_type", _WORDS if snp else tuple(_COMMANDS))
    page_type = page_type_named(word) if snp else _COMMANDS.get(word)
    contents = table.nullable("contents_digest", lambda key: table.hex(key, 48 if snp else 32))
    return LaunchUpdate(
        gpa=table.number("gpa", U64),
        page_type=cast("PageType", page_type),
        length=table.number("length", U64),
        data=contents,
        origin=table.string("origin"),
    )
