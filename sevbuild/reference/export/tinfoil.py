"""`tinfoil`: the predicate of Tinfoil's deployments (snp-tdx-multiplatform/v1, cvmimage a7f72f9)."""

from __future__ import annotations

from base64 import b64encode

from sevbuild.reference.export.interface import Exporter, ExportOptions, values_of
from sevbuild.reference.export.text import ordered_json
from sevbuild.reference.model import ReferenceValues
from sevbuild.text import encode_text

__all__ = ["EXPORTER"]


class Tinfoil(Exporter):
    """The one shape that a release of theirs has; TDX registers and disks come from the publisher."""

    name = "tinfoil"
    summary = "the predicate https://tinfoil.sh/predicate/snp-tdx-multiplatform/v1"
    files = ("tinfoil-deployment.json",)

    def refusal(self, values: ReferenceValues) -> str | None:
        """Return why this guest is no deployment of theirs: one SNP target, kernel and initrd measured."""
        found = values_of(values, self.modes)
        if len(found) != 1:
            return f"it holds one SNP target, and here are {len(found)}; --target takes one"
        if not found[0].kernel_hashes:
            return "it names kernel, initrd and command line, and no kernel is measured here"
        inputs = values.inputs_of(found[0]) or {}
        files = {role for role, record in inputs.items() if record.algorithm == "sha256"}
        if not {"kernel", "initrd"} <= files:
            return "it names kernel and initrd, and the document does not have one of each for the target"
        return None

    def render(self, values: ReferenceValues, options: ExportOptions) -> dict[str, bytes]:
        """Return `tinfoil-deployment.json`."""
        extra = options.extra
        (value,) = values_of(values, self.modes)
        inputs = values.inputs_of(value) or {}
        predicate = {
            "snp_measurement": value.digest.hex(),
            "tdx_measurement": {"rtmr1": extra["rtmr1"].hex(), "rtmr2": extra["rtmr2"].hex()},
            "vm_shape": {
                "cpus": value.vcpus,
                "memory_mb": extra["memory-mb"],
                "gpus": extra["gpus"],
                "disks": extra["disks"],
            },
            "cmdline": value.cmdline,
            "hashes": {
                "version": extra["image-version"],
                "root": extra["root"].hex(),
                "initrd": inputs["initrd"].digest.hex(),
                "kernel": inputs["kernel"].digest.hex(),
                "raw": extra["raw"].hex(),
            },
            "config": b64encode(encode_text(extra["config"])).decode(),
        }
        return {"tinfoil-deployment.json": ordered_json(predicate)}


EXPORTER = Tinfoil()
