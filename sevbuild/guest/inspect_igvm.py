"""An IGVM file, described with what each loader makes of it."""

from __future__ import annotations

from typing import Any

from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.igvm.describe import describe_igvm
from sevbuild.igvm.loaders import LOADERS
from sevbuild.igvm.platforms import file_modes
from sevbuild.launch.mode import Mode
from sevbuild.progress import Progress

__all__ = ["inspect_igvm"]


def inspect_igvm(path: str, mode: Mode | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Return a JSON-able description of an IGVM file; raises SevbuildError where it is not valid.

    `modes` are those that the file has platforms for, strongest first; `mode` picks one, None for the
    strongest that each loader takes. `loaders` has an entry a loader: `digest` is None where it refuses the
    file, with `refused` saying why; `launches` tells a hypervisor from a tool that only measures. `doubts`
    say why a guest with that digest may not boot. That is another question than whether `same_digest`,
    which tells that all loaders that take the file have one and the same.
    """
    file = ForeignFile(path, progress)
    loaded, refused = file.load(ForeignLaunch(mode=mode))
    measured, stopped = file.measure(loaded)
    entries: dict[str, dict[str, Any]] = {}
    for item in measured:
        entries[item.target.loader.name] = {
            "label": item.label,
            "mode": item.plan.mode,
            "vcpus": item.target.vcpus,
            "digest": item.digest.hex(),
            "refused": None,
            "doubts": [doubt._asdict() for doubt in item.doubts],
        }
    for other in (*refused, *stopped):
        unknown = dict.fromkeys(("label", "mode", "vcpus", "digest"))
        entries[other.loader] = {**unknown, "refused": other.reason, "doubts": []}
    digests = {entry["digest"] for entry in entries.values() if entry["digest"] is not None}
    return {
        "name": file.name,
        "size": file.size,
        "sha256": file.sha256().hex(),
        **describe_igvm(file.file),
        "modes": file_modes(file.file),
        "loaders": [
            {"loader": name, "launches": LOADERS[name].launches, **entries[name]} for name in LOADERS
        ],
        "same_digest": len(digests) == 1,
    }
