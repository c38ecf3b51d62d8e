"""`tinfoil`: the predicate of Tinfoil's deployments (snp-tdx-multiplatform/v1, cvmimage a7f72f9)."""

from __future__ import annotations

from base64 import b64encode

from sevbuild.reference.export.ingredients import inputs_of
from sevbuild.reference.export.interface import Document, Exporter, ExportOptions, values_of
from sevbuild.reference.export.text import json_bytes
from sevbuild.text import encode_text

__all__ = ["EXPORTER"]


class Tinfoil(Exporter):
    """The one shape that a release of theirs has; TDX registers and disks come from the publisher."""

    name = "tinfoil"
    summary = "the predicate https://tinfoil.sh/predicate/snp-tdx-multiplatform/v1"
    files = ("tinfoil-deployment.json",)

    def refusal(self, document: Document) -> str | None:
        """Return why this guest is no deployment of theirs: one SNP target, kernel and initrd measured."""
        values = values_of(document, self.modes)
        if len(values) != 1:
            return f"it holds one SNP target, and here are {len(values)}; --target takes one"
        if not values[0]["kernel_hashes"]:
            return "it names kernel, initrd and command line, and no kernel is measured here"
        inputs = inputs_of(document, values[0])
        if inputs is None or not {"kernel", "initrd"} <= set(inputs):
            return "it names kernel and initrd, and the document does not have one of each for the target"
        return None

    def render(self, document: Document, options: ExportOptions) -> dict[str, bytes]:
        """Return `tinfoil-deployment.json`."""
        extra = options.extra
        (value,) = values_of(document, self.modes)
        inputs = inputs_of(document, value) or {}
        predicate = {
            "snp_measurement": value["digest"],
            "tdx_measurement": {"rtmr1": extra["rtmr1"].hex(), "rtmr2": extra["rtmr2"].hex()},
            "vm_shape": {
                "cpus": value["vcpus"],
                "memory_mb": extra["memory-mb"],
                "gpus": extra["gpus"],
                "disks": extra["disks"],
            },
            "cmdline": value["cmdline"],
            "hashes": {
                "version": extra["image-version"],
                "root": extra["root"].hex(),
                "initrd": inputs["initrd"]["sha256"],
                "kernel": inputs["kernel"]["sha256"],
                "raw": extra["raw"].hex(),
            },
            "config": b64encode(encode_text(extra["config"])).decode(),
        }
        return {"tinfoil-deployment.json": json_bytes(predicate)}


EXPORTER = Tinfoil()
