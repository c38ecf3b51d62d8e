"""What a picture of launches shows, out of a guest or an IGVM file: each distinct launch once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sevbuild.guest.guest import Guest
from sevbuild.guest.records import cmdline_text, input_records
from sevbuild.guest.registers import GivenRegister, given_registers, read_registers
from sevbuild.guest.trace import ContentsDigests, file_plan_document, plan_document
from sevbuild.launch.label import any_vcpus, label_parts
from sevbuild.launch.page_type import PageType
from sevbuild.launch.region_data import chunks
from sevbuild.manifest.inputs import IGVM
from sevbuild.picture.launches import Launch, Register, SaveArea, Update
from sevbuild.picture.launches import Target as Drawn
from sevbuild.picture.plan_page import PlanPicture
from sevbuild.text import counted

if TYPE_CHECKING:
    from sevbuild.guest.foreign import ForeignFile
    from sevbuild.guest.measured import Measured
    from sevbuild.guest.record import InputRecord
    from sevbuild.igvm.loaded import Loaded
    from sevbuild.launch.plan import LaunchPlan
    from sevbuild.manifest.targets import Target

__all__ = ["document_updates", "file_picture", "guest_picture", "input_names", "save_areas"]

Read = Callable[[int, bytes, str], list[GivenRegister]]
"""From the number of a VMSA in its launch, its bytes and its origin to its registers."""


def guest_picture(guest: Guest, targets: Sequence[Target]) -> PlanPicture:
    """Return what there is to show of these targets of a guest."""
    measured = guest.measure(targets)
    known: ContentsDigests = {}
    launches, drawn = _drawn(
        measured,
        lambda target: plan_document(guest, target, known),
        lambda target: _registers_of(guest, target),
        lambda target: (target.policy_origin, target.features_origin),
    )
    lines: dict[str, list[str]] = {}
    for target in targets:
        line = cmdline_text(guest, target)
        if line is not None:
            lines.setdefault(line, []).append(target.label)
    manifest = guest.manifest
    return PlanPicture(
        title=" ".join(filter(None, (manifest.name, manifest.version))),
        facts=_facts(measured),
        inputs=input_names(input_records(guest, targets)),
        cmdlines=tuple((line, _whose(labels, len(targets))) for line, labels in lines.items()),
        launches=launches,
        targets=drawn,
    )


def file_picture(file: ForeignFile, measured: Sequence[Measured[Loaded]]) -> PlanPicture:
    """Return what there is to show of what loaders make of an IGVM file."""
    from sevbuild.guest.record import InputRecord

    launches, drawn = _drawn(
        measured,
        lambda loaded: file_plan_document(file, loaded),
        lambda _loaded: _read,
        lambda loaded: ("the file" if loaded.policy_given else "default of its mode", "the first VMSA"),
    )
    record = InputRecord("IGVM file", file.name, file.size, "sha256", file.sha256())
    return PlanPicture(
        title=file.name,
        facts=_facts(measured),
        inputs=input_names([record]),
        cmdlines=(),
        launches=launches,
        targets=drawn,
    )


def input_names(records: Iterable[InputRecord]) -> tuple[tuple[str, str], ...]:
    """Return what each input is called, and its digest with the algorithm."""
    return tuple(
        (
            f"{record.role} {record.name}"
            + ("" if record.size is None else f", {counted(record.size, 'byte')}"),
            f"{record.algorithm}:{record.digest.hex()}",
        )
        for record in records
    )


def document_updates(document: Mapping[str, Any]) -> tuple[Update, ...]:
    """Return the updates of a plan as a document has them."""
    return tuple(
        Update(
            entry["origin"],
            entry["page_type"],
            int(entry["gpa"], 16),
            int(entry["length"], 16),
            entry["contents_digest"] or "",
            entry["launch_digest"],
        )
        for entry in document["updates"]
    )


def save_areas(plan: LaunchPlan, read: Read) -> Iterator[SaveArea]:
    """Yield the VMSAs of a plan in the order of the launch; those that follow one another alike are one."""
    vmsas = [
        update for update in plan.updates if update.page_type == PageType.VMSA and update.data is not None
    ]
    pages = [b"".join(chunks(update.data)) for update in vmsas if update.data is not None]
    first = 0
    for index, page in enumerate(pages):
        if index + 1 < len(pages) and pages[index + 1] == page:
            continue
        title = f"VMSA {first}" if first == index else f"VMSAs {first} to {index}"
        registers = read(first, page, vmsas[first].origin)
        yield SaveArea(title, tuple(Register(*register) for register in registers))
        first = index + 1


def _drawn(
    measured: Sequence[Measured[Any]],
    document: Callable[[Any], dict[str, Any]],
    read: Callable[[Any], Read],
    origins: Callable[[Any], tuple[str, str]],
) -> tuple[tuple[Launch, ...], tuple[Drawn, ...]]:
    """Return the distinct launches of what was measured, by their first target, and the targets.

    `document` gives the plan of one with its running digests, `read` what reads its VMSAs, `origins` where
    its policy and features come from. A launch that is the beginning of a longer one is part of that: the
    digest that was measured is then one of its running digests.
    """
    found: list[Launch] = []
    steps: dict[tuple[object, ...], int] = {}
    for item in sorted(measured, key=lambda item: -len(item.plan.updates)):
        if _step(item) not in steps:
            said = document(item.target)
            launch = Launch(
                (("Mode", said["mode"]), ("Profile", said["profile"]), ("Order", said["order"])),
                said["seed"] or "",
                document_updates(said),
                tuple(save_areas(item.plan, read(item.target))),
            )
            for count, update in enumerate(launch.updates, start=1):
                steps[_key(item, count, update.digest)] = len(found)
            found.append(launch)
    numbers: dict[int, int] = {}
    targets = []
    for item in measured:
        number = numbers.setdefault(steps[_step(item)], len(numbers))
        targets.append(_target(item, number, *origins(item.target)))
    return tuple(found[index] for index in numbers), tuple(targets)


def _step(item: Measured[Any]) -> tuple[object, ...]:
    return _key(item, len(item.plan.updates), item.digest.hex())


def _key(item: Measured[Any], count: int, digest: str) -> tuple[object, ...]:
    """Return what two launches have in common that share their updates so far, and the origins of these."""
    label = label_parts(item.label)
    return label["mode"], label["profile"], item.plan.seed, count, digest


def _target(item: Measured[Any], launch: int, policy_origin: str, features_origin: str) -> Drawn:
    target = item.target
    facts = f"policy {item.plan.policy:#x} ({policy_origin})"
    if target.guest_features is not None:
        facts += f", guest features {target.guest_features:#x} ({features_origin})"
    facts += "".join(f"; {doubt.kind.replace('-', ' ')}: {doubt.reason}" for doubt in item.doubts)
    name = counted(target.vcpus, "vCPU")
    steps = len(item.plan.updates)
    return Drawn(item.label, any_vcpus(item.label), name, facts, item.digest.hex(), launch, steps)


def _facts(measured: Sequence[Measured[Any]]) -> tuple[tuple[str, str], ...]:
    """Return what the targets are, counted and by the parts of their labels."""
    labels = [label_parts(item.label) for item in measured]
    said = [("Targets", str(len(measured)))]
    for key, name in (("mode", "Modes"), ("profile", "Profiles"), ("cpu", "CPUs")):
        said.append((name, ", ".join(dict.fromkeys(label[key] for label in labels))))
    counts = sorted({int(label["vcpus"]) for label in labels})
    said.append(("vCPUs", str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"))
    return tuple(said)


def _whose(labels: Sequence[str], targets: int) -> str:
    """Return whose a command line is, empty where all targets have it."""
    if len(labels) == targets:
        return ""
    more = len(labels) - 1
    return f"{labels[0]} and {counted(more, 'more target')}" if more else labels[0]


def _registers_of(guest: Guest, target: Target) -> Read:
    """Return what reads the VMSAs of a target: those that its profile lays out have the origins it gives."""
    ours = () if target.variant.declared(IGVM) is not None else guest.laid_out(target).vmsas

    def read(index: int, page: bytes, origin: str) -> list[GivenRegister]:
        if index < len(ours) and ours[index].data == page:
            return given_registers(page, target, "ap" if index else "bsp")
        return _read(index, page, origin)

    return read


def _read(_index: int, page: bytes, origin: str) -> list[GivenRegister]:
    """Return the registers of a VMSA that no profile of ours laid out."""
    whose = "the loader" if origin.startswith("reset state") else "the IGVM file"
    return read_registers(page, f"{whose}: {origin}")
