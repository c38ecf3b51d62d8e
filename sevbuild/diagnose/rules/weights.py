"""How likely each cause is, by how many public threads it was the true one of."""

from __future__ import annotations

from sevbuild.diagnose.change import SEEN

__all__ = [
    "CMDLINE",
    "CPU",
    "FEATURES",
    "FIRMWARE",
    "INITRD",
    "KERNEL",
    "KERNEL_HASHES",
    "LOADER",
    "MODE",
    "ORDER",
    "PROFILE",
    "REGISTERS",
    "SECTIONS",
    "SVSM",
    "SWEPT",
]

# Threads in public trackers by true cause, as gathered in November 2026: another firmware build 19; bytes of
# kernel, initrd or command line 12; CPU signature 11; VMM 10; era of the host kernel 9; SEV_FEATURES 9;
# something else was compared 9; SVSM or IGVM 6; kinds or order of sections 5. The vCPU count, 12, is walked
# by the search itself. A family adds what tells its own rules apart.
FIRMWARE = 100
KERNEL_HASHES = 200
CMDLINE = 210
INITRD = 230
KERNEL = 240
CPU = 300
PROFILE = 400
REGISTERS = 440
FEATURES = 470
MODE = 500
LOADER = 600
SVSM = 620
SECTIONS = 700
ORDER = 800
SWEPT = SEEN
"""What no thread or release is known for begins here."""
