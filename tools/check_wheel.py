"""Build sdist and wheel, check their metadata, install the wheel alone, and use what it must carry."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def call(*command: str | Path, cwd: Path) -> str:
    """Run a command in `cwd` and return its standard output; its failure is ours."""
    return subprocess.run(
        [str(part) for part in command], check=True, cwd=cwd, capture_output=True, text=True
    ).stdout


def main() -> None:
    """Exit 0 if a guest can be started from the installed wheel and has the checked-in digest."""
    with tempfile.TemporaryDirectory(prefix="sevbuild-wheel-") as name:
        folder = Path(name)
        # The wheel is built from the sdist, so that what the sdist lacks is missed here.
        call(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
        built = sorted(folder.glob("sevbuild-*"))
        call(sys.executable, "-m", "twine", "check", "--strict", *built, cwd=folder)
        call(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
        call(folder / "venv/bin/python", "-m", "pip", "install", "--quiet", *folder.glob("*.whl"), cwd=folder)
        sevbuild = folder / "venv/bin/sevbuild"
        for template in ("hello", "fleet"):
            path = folder / template / "guest.toml"
            call(sevbuild, "init", "--template", template, path, cwd=folder)
            installed = call(sevbuild, "measure", "--quiet", path, cwd=folder)
            here = call(
                sys.executable,
                "-m",
                "sevbuild",
                "measure",
                "--quiet",
                f"guests/{template}/guest.toml",
                cwd=ROOT,
            )
            if installed != here:
                sys.exit(f"{template}: the wheel measures {installed!r}, the tree {here!r}")
        call(sevbuild, "profiles", "qemu", cwd=folder)
        for fmt in ("shell", "json", "libvirt"):
            command = ("qemu-args", "--quiet", "--format", fmt, "hello/guest.toml")
            launch = call(sevbuild, *command, cwd=folder)
            here = call(sys.executable, "-m", "sevbuild", *command, cwd=ROOT / "guests")
            if launch != here:
                sys.exit(f"qemu-args {fmt}: the wheel prints {launch!r}, the tree {here!r}")
        print("the wheel starts guests from its own templates, firmware, profiles and launch commands")


main()
