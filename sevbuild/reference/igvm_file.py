"""Reference values of an IGVM file: from the digests that loaders give it, and against the file again."""

from __future__ import annotations

from collections.abc import Sequence

from sevbuild.errors import Notice, SevbuildError
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch, GivenKernel
from sevbuild.guest.measured import Measured
from sevbuild.igvm.loaded import Loaded
from sevbuild.image.kernel_hashes import EMPTY_INITRD_DIGEST, KernelHashes, cmdline_digest
from sevbuild.launch.label import NO_CPU
from sevbuild.manifest.vcpu_keys import MAX_VCPUS, signature_cpu
from sevbuild.reference.model import Input, ReferenceValues, Value
from sevbuild.text import utf8_text

__all__ = ["file_value", "file_values", "launch_of", "measure_again"]


def file_values(
    file: ForeignFile,
    measured: Sequence[Measured[Loaded]],
    signature: int | None = None,
    kernel: GivenKernel | None = None,
) -> ReferenceValues:
    """Return the reference values of a file, one a loader.

    `signature` is that of vCPUs which the file does not describe, `kernel` what loaders were given beside
    the file. Who measures the file has its name, and no version.
    """
    values = tuple(file_value(item, signature, kernel) for item in measured)
    inputs = [Input("igvm", file.name, file.size, "sha256", file.sha256())]
    if kernel is not None and any(value.kernel_hashes for value in values):
        inputs += [Input(*record) for record in kernel.records]
    return ReferenceValues(file.name, None, tuple(inputs), values)


def file_value(
    item: Measured[Loaded], signature: int | None = None, kernel: GivenKernel | None = None
) -> Value:
    """Return the value of one loader; `signature` and `kernel` are in it where the loader took them."""
    loaded, plan = item.target, item.plan
    vmsas, features = loaded.vmsas, loaded.guest_features
    gpas = sorted({update.gpa for update in vmsas}) if plan.mode == "snp" else []
    hashes = any(update.origin == "kernel hashes" for update in plan.regions)
    return Value(
        label=item.label,
        mode=plan.mode,
        profile=loaded.loader.name,
        cpu=NO_CPU,
        signature=signature if loaded.takes_signature else None,
        vcpus=loaded.vcpus,
        guest_features=features,
        policy=plan.policy,
        kernel_hashes=hashes,
        cmdline=utf8_text(kernel.cmdline) if hashes and kernel is not None else None,
        order=loaded.loader.order,
        vmsa_gpa=gpas[0] if len(gpas) == 1 else None,
        digest=item.digest,
        features_origin=vmsas[0].origin if vmsas else None,
        policy_origin="GUEST_POLICY" if loaded.policy_given else f"default of {plan.mode}",
        doubts=item.doubts,
    )


def measure_again(values: ReferenceValues, file: ForeignFile) -> ReferenceValues:
    """Return what a file measures to in the loaders, and with the vCPUs, that published values name.

    A kernel beside the file is known by the digests in the document. `file.notices` tells which loader
    does not take the file. Raises SevbuildError where none does.
    """
    loaded: dict[str, tuple[Loaded, Value]] = {}
    refused = []
    for value in values.values:
        try:
            found = _load(values, value, file)
        except SevbuildError as error:
            refused.append(f"{value.label}: {error.message}")
        else:
            loaded[found.label] = (found, value)
    measured, stopped = file.measure([found for found, _ in loaded.values()]) if loaded else ([], [])
    refused += [f"{item.loader}: {item.reason}" for item in stopped]
    if not measured:
        raise SevbuildError(f"{file.path}: no loader of the document takes this file:", details=refused)
    file.notices += [Notice("note", file.path, reason) for reason in refused]
    again = [_again(item, loaded[item.label][1]) for item in measured]
    inputs = [Input("igvm", file.name, file.size, "sha256", file.sha256())]
    if any(value.kernel_hashes for value in again):
        known = [entry for entry in values.inputs if entry.role != "igvm"]
        inputs += known
        names = ", ".join(entry.name for entry in known)
        message = f"{names} and the command line are taken as the document gives them"
        file.notices.append(Notice("note", file.path, message))
    # What the file is called is the name of an input, not of another guest.
    return ReferenceValues(values.name, None, tuple(inputs), tuple(again))


def _load(values: ReferenceValues, value: Value, file: ForeignFile) -> Loaded:
    return file.load(launch_of(values, value))[0][0]


def launch_of(values: ReferenceValues, value: Value) -> ForeignLaunch:
    """Return how a file was launched for a published value; raises SevbuildError for a kernel not known."""
    return ForeignLaunch(
        loaders=(value.profile,),
        mode=value.mode,
        vcpus=value.vcpus if 1 <= value.vcpus <= MAX_VCPUS else None,
        cpu=None if value.signature is None else signature_cpu(value.signature),
        kernel_hashes=_hashes(values, value) if value.kernel_hashes else None,
    )


def _again(measured: Measured[Loaded], value: Value) -> Value:
    found = file_value(measured, value.signature)
    return found._replace(cmdline=value.cmdline) if found.kernel_hashes else found


def _hashes(values: ReferenceValues, value: Value) -> KernelHashes:
    digests = {entry.role: entry.digest for entry in values.inputs}
    if "kernel" not in digests or value.cmdline is None:
        lacks = "kernel" if "kernel" not in digests else "command line, which is not UTF-8"
        raise SevbuildError(f"the document does not have the {lacks}")
    initrd = digests.get("initrd", EMPTY_INITRD_DIGEST)
    return KernelHashes(digests["kernel"], initrd, cmdline_digest(value.cmdline.encode()))
