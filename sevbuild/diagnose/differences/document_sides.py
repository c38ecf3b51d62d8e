"""Documents as sides of a comparison of launches: launch plans, reference values and a bundle's files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sevbuild.diagnose.differences.launch_sides import KnownInput, LaunchSide
from sevbuild.diagnose.differences.model import Compared
from sevbuild.diagnose.differences.plan_document import read_plan_document
from sevbuild.diagnose.differences.side_by_side import Trace
from sevbuild.diagnose.file_contents import FileContents
from sevbuild.errors import SevbuildError
from sevbuild.launch.label import NO_CPU, label_parts
from sevbuild.launch.region_data import Contents
from sevbuild.manifest.inputs import ROLES, launched_as
from sevbuild.reference.model import ReferenceValues, Value
from sevbuild.text import as_utf8

if TYPE_CHECKING:
    from sevbuild.diagnose.differences.plan_document import RecordedPlan

__all__ = ["PlanSide", "ValuesSide"]


class PlanSide(LaunchSide):
    """Launch plans as `sevbuild plan --format json` wrote them."""

    lacks: frozenset[str] = frozenset(
        {"guest", "input", "inputs", "signature", "kernel_hashes", "cmdline", "origins", "id_block", "doubts"}
    )

    def __init__(self, path: str, plans: Sequence[RecordedPlan]) -> None:
        super().__init__(Compared(path, "plan"))
        self._plans = {plan.label: plan for plan in plans}

    @property
    def of_file(self) -> bool:
        """Tell whether the plans are those of an IGVM file, whose labels have no CPU."""
        return all(label_parts(label).get("cpu") == NO_CPU for label in self._plans)

    def labels(self) -> list[str]:
        """Return the labels of the plans."""
        return list(self._plans)

    def values(self, labels: Sequence[str]) -> ReferenceValues:
        """Return what the plans say of their targets."""
        name = as_utf8(os.path.basename(self.compared.name))
        return ReferenceValues(name, None, (), tuple(_planned(self._plans[label]) for label in labels))

    def trace(self, label: str) -> Trace:
        """Return the launch of a target step by step, with digests in place of contents."""
        plan = self._plans[label]
        return Trace(plan.plan, plan.digests, recorded=True)


class ValuesSide(LaunchSide):
    """Reference values: a document, or that of a release or a bundle, whose files are at hand.

    `files` finds the path of a target's file by its role.
    """

    def __init__(self, path: str, kind: str, source: str, values: ReferenceValues) -> None:
        super().__init__(Compared(path, kind))
        self.document = values
        self._source = source
        self._files: Mapping[str, Mapping[str, str]] | None = None
        self._by_label: Mapping[str, Value] | None = None

    @property
    def of_file(self) -> bool:
        """Tell whether the document is of an IGVM file."""
        return self.document.of_file

    def labels(self) -> list[str]:
        """Return the labels of its values."""
        return [value.label for value in self.document.values]

    def values(self, labels: Sequence[str]) -> ReferenceValues:
        """Return what it says of these targets."""
        from sevbuild.reference.narrow import Selection, narrow_values

        if list(labels) == self.labels():
            return self.document
        return narrow_values(self.document, Selection(tuple(labels)), labels)

    def trace(self, label: str) -> Trace | None:
        """Return the launch plan that a bundle has of a target, where it is that of the digest."""
        from sevbuild.documents.json_input import DOCUMENT_LIMIT
        from sevbuild.fs import read_file

        path = self._file(label, "plan")
        if path is None:
            return None
        try:
            plans = read_plan_document(path, read_file(path, DOCUMENT_LIMIT))
        except SevbuildError:
            # That a bundle is damaged is for `verify` to say.
            return None
        found = next((plan for plan in plans if plan.digest == self._value(label).digest), None)
        return None if found is None else Trace(found.plan, found.digests, recorded=True)

    def where(self, label: str, what: str) -> str:  # noqa: ARG002
        """Return the JSON path of what values say; it is the same for all of them, as their causes may be."""
        key = what.partition(".")[0]
        return f"{self._source}: $.values[*].{what}" if key in Value._fields else self._source

    def contents(self, label: str, role: str) -> list[Contents] | None:
        """Return the file of an input that a bundle has, where it is the one that is listed."""
        path = self._file(label, ROLES[role].launched_as)
        inputs = self.document.inputs_of(self._value(label)) or {}
        record = next((entry for name, entry in inputs.items() if ROLES[name].launched_as == role), None)
        if path is None or record is None:
            return None
        from sevbuild.guest.inputs import read_hashed

        return [FileContents([path])] if read_hashed([path]).sha256 == record.digest else None

    def inputs(self, role: str) -> list[KnownInput]:
        """Return what the document lists in a role, each once; a bundle has the file."""
        records = [entry for entry in self.document.inputs if launched_as(entry.role) == role]
        return [
            KnownInput(
                self._source, entry.name, entry.digest, self._file_of(role) if len(records) == 1 else None
            )
            for entry in records
        ]

    def _file_of(self, role: str) -> list[Contents] | None:
        """Return the file of an input that all targets share."""
        return self.contents(self.document.values[0].label, role)

    def cmdline(self, label: str) -> str | None:
        """Return the command line of a target."""
        return self._value(label).cmdline

    def template(self, label: str) -> str | None:
        """Return that command line with its placeholders, where the ingredients have it."""
        entry = self.document.ingredients_of(self._value(label))
        return None if entry is None or entry.kernel is None else entry.kernel.cmdline

    def _value(self, label: str) -> Value:
        if self._by_label is None:
            self._by_label = {value.label: value for value in self.document.values}
        return self._by_label[label]

    def _file(self, label: str, role: str) -> str | None:
        """Return the path of a file that a bundle lists for a target, None where it has none."""
        if self.compared.kind != "bundle":
            return None
        if self._files is None:
            from sevbuild.bundle.folder import bundle_folder, read_document

            folder = bundle_folder(self.compared.name)
            bundle, _ = read_document(folder)
            known = bundle.by_path
            self._files = {
                target.value.label: {
                    name: os.path.join(folder, path) for name, path in target.files.items() if path in known
                }
                for target in bundle.targets
            }
        path = self._files.get(label, {}).get(role)
        return path if path is not None and os.path.isfile(path) and not os.path.islink(path) else None


def _planned(plan: RecordedPlan) -> Value:
    told = label_parts(plan.label)
    gpas = {update.gpa for update in plan.plan.updates if update.page_type.label == "vmsa"}
    snp = plan.plan.mode == "snp"
    return Value(
        label=plan.label,
        mode=plan.plan.mode,
        profile=plan.profile,
        cpu=told.get("cpu", ""),
        signature=None,
        vcpus=int(told["vcpus"]) if told.get("vcpus", "").isdecimal() else 0,
        guest_features=plan.guest_features,
        policy=plan.plan.policy,
        kernel_hashes=False,
        cmdline=None,
        order=plan.order,
        vmsa_gpa=gpas.pop() if snp and len(gpas) == 1 else None,
        digest=plan.digest,
        features_origin=None,
        policy_origin="",
    )
