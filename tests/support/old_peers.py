"""Run any release of sev-snp-measure, and snpguest: what they say is the digest that somebody expected."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.real import peer_program, require_peer
from tests.support.shared import ROOT

__all__ = ["RELEASES", "sev_snp_measure", "snpguest"]

RELEASES = [f"0.0.{number}" for number in range(5, 14)]
"""Those with a command line of today's form; .ci/peers unpacks them."""


def sev_snp_measure(release: str, arguments: list[str], cwd: Path) -> str:
    """Return what a release of sev-snp-measure prints for these arguments of its command."""
    place = ROOT / ".cache" / "sev-snp-measure" / release
    require_peer(place.is_dir(), f"sev-snp-measure {release} ({place})")
    command = [sys.executable, "-W", "ignore", "-m", "sevsnpmeasure.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd, env=environment)
    return done.stdout.strip()


def snpguest(arguments: list[str], cwd: Path) -> str:
    """Return what `snpguest generate measurement` prints, in hex without its prefix."""
    command = [peer_program("snpguest"), "generate", "measurement", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd)
    return done.stdout.strip().removeprefix("0x")
