"""`virt-qemu-sev-validate`: the guest owner's check with libvirt's tool (libvirt 9.0 and later)."""

from __future__ import annotations

from sevbuild.reference.export.interface import RECOMPUTED_PROFILE, Exporter, ExportOptions, values_of
from sevbuild.reference.export.owner import owner_script, unfit_labels
from sevbuild.reference.export.text import shell_word
from sevbuild.reference.model import ReferenceValues, Value
from sevbuild.vcpu.models import decode_signature

__all__ = ["EXPORTER"]

_VARIABLES = (
    "API_MAJOR, API_MINOR, BUILD_ID: of the host's firmware (query-sev)",
    "TIK, TEK: the files with your session's transport keys",
    "MEASUREMENT: what the host reports, base64 of 48 bytes (virsh domlaunchsecinfo)",
    "FILES: the folder with the guest's files; the current one where it is not set",
)
_COMMAND = (
    'exec virt-qemu-sev-validate --api-major "$API_MAJOR" --api-minor "$API_MINOR" --build-id "$BUILD_ID" \\\n'
    '    --tik "$TIK" --tek "$TEK" --measurement "$MEASUREMENT" "$@"'
)
_ROLES = ("firmware", "kernel", "uki", "initrd")


class VirtQemuSevValidate(Exporter):
    """A script that has libvirt's tool measure the guest's files again.

    The tool knows QEMU's launch alone, and takes files, so both restrict what it can check.
    """

    name = "virt-qemu-sev-validate"
    summary = "a guest owner's script around libvirt's tool"
    files = ("virt-qemu-sev-validate.sh",)
    modes = ("sev", "sev-es")

    def refusal(self, values: ReferenceValues) -> str | None:
        """Return why the tool cannot check this guest."""
        reason = super().refusal(values) or unfit_labels(values_of(values, self.modes))
        if reason is not None:
            return reason
        for value in values_of(values, self.modes):
            reason = _unlike_the_tool(value) or _no_files(values, value)
            if reason is not None:
                return f"{value.label}: {reason}"
        return None

    def render(self, values: ReferenceValues, _options: ExportOptions) -> dict[str, bytes]:
        """Return `virt-qemu-sev-validate.sh`; what a session and a host determine are its variables."""
        cases = [
            (value.label, " ".join(_arguments(values, value))) for value in values_of(values, self.modes)
        ]
        script = owner_script(values, self.name, _VARIABLES, cases, _COMMAND)
        return {"virt-qemu-sev-validate.sh": script}


def _unlike_the_tool(value: Value) -> str | None:
    """Return how a target's launch differs from the one that the tool measures."""
    if value.order != "profile":
        return f"the tool measures in QEMU's order, not in {value.order} order"
    if value.mode == "sev-es":
        if value.profile != RECOMPUTED_PROFILE:
            return f"the tool builds the VMSAs of profile {RECOMPUTED_PROFILE}, not of {value.profile}"
        if value.guest_features:
            return f"the tool does not support guest features, and here they are {value.guest_features:#x}"
    return None


def _no_files(values: ReferenceValues, value: Value) -> str | None:
    """Return why the tool has no files to measure."""
    inputs = values.inputs_of(value)
    if inputs is None:
        return "the document does not say which of its inputs the target is made of"
    for role in _ROLES:
        if role in inputs:
            name = inputs[role].name
            # What is taken out of a unified kernel image, or put together of several files.
            if name.startswith(".") or "+" in name or inputs[role].size is None:
                return f"the {role} is not a single file, which the tool needs"
    if value.kernel_hashes and not {"kernel", "uki"} & set(inputs):
        return "the kernel is not a file"
    return None if "firmware" in inputs else "the firmware is not a file"


def _arguments(values: ReferenceValues, value: Value) -> list[str]:
    inputs = values.inputs_of(value) or {}
    files = {role: f'"${{FILES:-.}}"/{shell_word(entry.name)}' for role, entry in inputs.items()}
    found = ["--policy", str(value.policy), "--firmware", files["firmware"]]
    if value.kernel_hashes:
        found += ["--kernel", files.get("kernel") or files["uki"]]
        if "initrd" in files:
            found += ["--initrd", files["initrd"]]
        # Joined, since a command line may start with a dash.
        found.append("--cmdline=" + shell_word(value.cmdline or ""))
    if value.mode == "sev-es":
        family, model, stepping = decode_signature(value.signature or 0)
        found += ["--num-cpus", str(value.vcpus), "--cpu-family", str(family)]
        found += ["--cpu-model", str(model), "--cpu-stepping", str(stepping)]
    return found


EXPORTER = VirtQemuSevValidate()
