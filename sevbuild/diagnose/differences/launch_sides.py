"""The sides of a comparison of launches: what each says of its targets, and has at hand of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from sevbuild.diagnose.differences.model import Compared
from sevbuild.diagnose.differences.side_by_side import Trace
from sevbuild.diagnose.file_contents import FileContents
from sevbuild.errors import Notice
from sevbuild.launch.region_data import Contents
from sevbuild.manifest.inputs import ROLES, DeclaredInput
from sevbuild.reference.model import ReferenceValues
from sevbuild.text import decode_text

if TYPE_CHECKING:
    from sevbuild.guest.foreign import ForeignFile, ForeignLaunch, GivenKernel
    from sevbuild.guest.inputs import Network
    from sevbuild.guest.measured import Measured
    from sevbuild.igvm.loaded import Loaded
    from sevbuild.launch.profile import LaunchProfile
    from sevbuild.manifest.targets import Target

__all__ = ["IgvmSide", "KnownInput", "LaunchSide", "ManifestSide"]

_KEYS: Mapping[str, tuple[str, ...]] = {
    "mode": ("launch.mode",),
    "profile": ("launch.profile",),
    "order": ("launch.order",),
    "policy": ("launch.policy",),
    "guest_features": ("launch.guest-features",),
    "host_data": ("launch.host-data",),
    "kernel_hashes": ("kernel.hashes",),
    "vcpus": ("vcpu.count",),
    "cpu": ("vcpu.model", "vcpu.signature", "vcpu.family"),
    "id_block": ("id-block",),
}
"""Which keys of a manifest say what documents say in another word."""


class KnownInput(NamedTuple):
    """An input of one side: where it is said, its name, its digest, and its files where they are at hand."""

    where: str
    name: str
    digest: bytes | None
    contents: list[Contents] | None


class LaunchSide(ABC):
    """One side: labels first, and once they are chosen, values, contents and launches of these.

    `lacks` names what it says nothing of: keys of a value, `input`, `inputs`, `guest`. What a side does not
    have at hand is None, and a place that it cannot name is empty.
    """

    lacks: frozenset[str] = frozenset()

    def __init__(self, compared: Compared) -> None:
        self.compared = compared

    @property
    def notices(self) -> list[Notice]:
        """Return what should be known of it."""
        return []

    @property
    def of_file(self) -> bool:
        """Tell whether its targets are what loaders make of an IGVM file, and no guest's."""
        return False

    @abstractmethod
    def labels(self) -> list[str]:
        """Return the labels of its targets."""

    @abstractmethod
    def values(self, labels: Sequence[str]) -> ReferenceValues:
        """Return what it says of these targets, which it measures where it can."""

    def trace(self, label: str) -> Trace | None:  # noqa: ARG002 - who has one takes it
        """Return the launch of a target step by step."""
        return None

    def where(self, label: str, what: str) -> str:  # noqa: ARG002
        """Return where it says something of a target, or where that comes from."""
        return ""

    def contents(self, label: str, role: str) -> list[Contents] | None:  # noqa: ARG002
        """Return the files of an input of a target."""
        return None

    def inputs(self, role: str) -> list[KnownInput]:  # noqa: ARG002
        """Return the inputs that its targets have in a role, each once."""
        return []

    def cmdline(self, label: str) -> str | None:  # noqa: ARG002
        """Return the command line that is measured of a target."""
        return None

    def template(self, label: str) -> str | None:  # noqa: ARG002
        """Return that command line with the placeholders that depend on the target left in it."""
        return None

    def unpublished(self, label: str) -> Mapping[str, str | None] | None:  # noqa: ARG002
        """Return settings of a target that no document has."""
        return None

    def profile(self, label: str) -> LaunchProfile | None:  # noqa: ARG002
        """Return the profile of a target."""
        return None


class ManifestSide(LaunchSide):
    """The targets of a manifest, measured now."""

    def __init__(
        self, path: str, name: str, data: bytes | None = None, network: Network | None = None
    ) -> None:
        from sevbuild.guest.guest import Guest, load_guest

        super().__init__(Compared(name, "manifest"))
        if data is None:
            self.guest = load_guest(path, network=network)
        else:
            from sevbuild.manifest.decode import decode_manifest

            # What came through a pipe lies in no folder: paths are relative to where the program runs.
            self.guest = Guest(decode_manifest(data.decode("utf-8"), name, directory="."), network)
        self._targets: dict[str, Target] = {target.label: target for target in self.guest.targets}

    @property
    def notices(self) -> list[Notice]:
        """Return what should be known of the guest."""
        return self.guest.notices

    def labels(self) -> list[str]:
        """Return the labels of its targets."""
        return list(self._targets)

    def values(self, labels: Sequence[str]) -> ReferenceValues:
        """Return what it says of these targets, measured."""
        from sevbuild.reference.collect import collect_values

        return collect_values(self.guest, self.guest.measure([self._targets[label] for label in labels]))

    def trace(self, label: str) -> Trace:
        """Return the launch of a target step by step."""
        target = self._targets[label]
        return Trace(self.guest.plan(target), [digest for _, digest in self.guest.trace(target)])

    def where(self, label: str, what: str) -> str:
        """Return FILE:LINE of what the manifest says, else where the value comes from."""
        target = self._targets[label]
        document = target.variant.document
        if what == "cmdline":
            return "" if target.cmdline is None else document.where(target.cmdline.key)
        if what in ROLES:
            declared = target.variant.declared(ROLES[what])
            return "" if declared is None else document.where(declared.key)
        for key in (what.replace("_", "-"), *_KEYS.get(what.partition(".")[0], ())):
            found = document.written(key)
            if found is not None:
                return found
        origins = {"policy": target.policy_origin, "guest_features": target.features_origin}
        return origins.get(what, "")

    def contents(self, label: str, role: str) -> list[Contents] | None:
        """Return the files of an input of a target, None where they cannot be read (again)."""
        declared = self._targets[label].variant.declared(ROLES[role])
        extent = None if declared is None else self.guest.kernels.extent(declared)
        if extent is None or not extent.sources:
            return None
        reader = self.guest.reader
        if not all(reader.is_regular(source) for source in extent.sources):
            return None
        part = extent.part or (0, None)
        return [FileContents([reader.fetched_path(source)], *part) for source in extent.sources]

    def inputs(self, role: str) -> list[KnownInput]:
        """Return what the manifest declares in a role, each once."""
        found = {}
        labels = {target.variant: label for label, target in self._targets.items()}
        for variant, label in labels.items():
            declared = variant.declared(ROLES[role])
            known = None if declared is None else self.guest.found(declared)
            if declared is not None and known is not None:
                contents = self.contents(label, role)
                found[declared.name] = KnownInput(
                    self.where(label, role), declared.basename, known.digest, contents
                )
        return list(found.values())

    def cmdline(self, label: str) -> str | None:
        """Return the command line of a target."""
        return decode_text(self.guest.kernels.cmdline(self._targets[label]))

    def template(self, label: str) -> str:
        """Return that command line with the placeholders that depend on the target left in it."""
        return self.guest.kernels.cmdline_template(self._targets[label])

    def unpublished(self, label: str) -> Mapping[str, str | None]:
        """Return host data, what only launch commands say, and inputs that are not measured."""
        variant = self._targets[label].variant
        machine = variant.machine
        found: dict[str, str | None] = {
            "host_data": None if variant.host_data is None else variant.host_data.hex(),
            "machine.memory": machine.memory,
            "machine.cbitpos": str(machine.cbitpos),
            "machine.reduced-phys-bits": str(machine.reduced_phys_bits),
            "machine.extra-args": " ".join(machine.extra_args) or None,
        }
        for declared in variant.inputs:
            if declared.launched and not declared.measured:
                found[f"{declared.role.name}, which is not measured"] = self._unmeasured(declared)
        return found

    def _unmeasured(self, declared: DeclaredInput) -> str | None:
        found = self.guest.found(declared)
        if found is None:
            return None
        size = None if found.size is None else f"{found.size} bytes"
        digest = None if found.digest is None else found.digest.hex()
        return " ".join(word for word in (declared.basename, size, digest) if word)

    def profile(self, label: str) -> LaunchProfile:
        """Return the profile of a target."""
        return self._targets[label].profile


class IgvmSide(LaunchSide):
    """What loaders make of an IGVM file.

    `known` are the values of a document of the file, whose loaders and vCPUs are taken; `kernel` is what
    loaders are given beside it.
    """

    def __init__(
        self,
        file: ForeignFile,
        launch: ForeignLaunch,
        known: ReferenceValues | None = None,
        kernel: GivenKernel | None = None,
    ) -> None:
        super().__init__(Compared(file.path, "igvm"))
        self._file = file
        self._launch = launch
        self._known = known
        self._kernel = kernel
        self._measured: dict[str, Measured[Loaded]] = {}

    @property
    def of_file(self) -> bool:
        """Tell that it is of a file."""
        return True

    @property
    def notices(self) -> list[Notice]:
        """Return what should be known of the file."""
        return self._file.notices

    def labels(self) -> list[str]:
        """Return the labels of its launches: one a loader that takes it."""
        if self._known is not None:
            return [value.label for value in self._known.values]
        if not self._measured:
            self._measured = {item.label: item for item in self._file.launches(self._launch)}
        return list(self._measured)

    def values(self, labels: Sequence[str]) -> ReferenceValues:
        """Return what it says of these launches, measured."""
        from sevbuild.reference.igvm_file import file_values, measure_again

        if self._known is not None:
            kept = [value for value in self._known.values if value.label in labels]
            return measure_again(self._known.only(tuple(kept)), self._file)
        measured = [self._measured[label] for label in labels]
        return file_values(self._file, measured, self._launch.signature, self._kernel)

    def trace(self, label: str) -> Trace | None:
        """Return the launch by a loader step by step."""
        item = self._measured.get(label)
        if item is None:
            return None
        return Trace(item.plan, [digest for _, digest in self._file.trace(item.plan)])

    def where(self, label: str, what: str) -> str:
        """Return where a launch has something from, where that is known."""
        item = self._measured.get(label)
        if item is None or what not in ("policy", "guest_features"):
            return ""
        if what == "policy":
            return "GUEST_POLICY" if item.target.policy_given else f"default of {item.plan.mode}"
        return item.target.vmsas[0].origin if item.target.vmsas else ""
