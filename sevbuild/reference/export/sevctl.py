"""`sevctl`: the guest owner's check of SEV and SEV-ES measurements (virtee/sevctl 0.6)."""

from __future__ import annotations

from base64 import b64encode

from sevbuild.reference.export.interface import Exporter, ExportOptions, values_of
from sevbuild.reference.export.owner import owner_script, unfit_labels
from sevbuild.reference.model import ReferenceValues

__all__ = ["EXPORTER"]

_VARIABLES = (
    "API_MAJOR, API_MINOR, BUILD_ID: of the host's firmware (query-sev)",
    "TIK: the file with your session's transport integrity key",
    "MEASUREMENT: what the host reports, base64 of 48 bytes (query-sev-launch-measure)",
)
_COMMAND = (
    'expected=$(sevctl measurement build --api-major "$API_MAJOR" --api-minor "$API_MINOR" \\\n'
    '    --build-id "$BUILD_ID" --tik "$TIK" --launch-measure-blob "$MEASUREMENT" "$@")\n'
    'if [ "$expected" = "$MEASUREMENT" ]; then echo "the measurement is right"; exit 0; fi\n'
    'echo "the measurement is wrong: expected $expected" >&2\n'
    "exit 1"
)


class Sevctl(Exporter):
    """A script that computes the expected measurement of a target from its launch digest."""

    name = "sevctl"
    summary = "a guest owner's script around `sevctl measurement build`"
    files = ("sevctl.sh",)
    modes = ("sev", "sev-es")

    def refusal(self, values: ReferenceValues) -> str | None:
        """Return why there is no such script."""
        return super().refusal(values) or unfit_labels(values_of(values, self.modes))

    def render(self, values: ReferenceValues, _options: ExportOptions) -> dict[str, bytes]:
        """Return `sevctl.sh`; what a session and a host determine are its variables."""
        cases = []
        for value in values_of(values, self.modes):
            digest = b64encode(value.digest).decode()
            cases.append((value.label, f"--policy {value.policy:#x} --launch-digest {digest}"))
        return {"sevctl.sh": owner_script(values, "sevctl", _VARIABLES, cases, _COMMAND)}


EXPORTER = Sevctl()
