"""The command line of Kata Containers: what its runtime puts before the parameters of a configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sevbuild.diagnose.rules.line import Line
from sevbuild.diagnose.rules.weights import CMDLINE, SWEPT

__all__ = ["kata_lines"]

_BASE = (
    b"tsc=reliable no_timer_check rcupdate.rcu_expedited=1 i8042.direct=1 i8042.dumbkbd=1 i8042.nopnp=1 "
    b"i8042.noaux=1 noreplace-smp reboot=k cryptomgr.notests net.ifnames=0 pci=lastbus=0"
)
_VERBOSITY = {"quiet": b"quiet", "debug": b"console=hvc0 console=hvc1 debug"}
_SELINUX = (b" selinux=0", b" selinux=1", b"")
_SOURCE = "kata-containers src/runtime/virtcontainers/qemu.go and qemu_amd64.go (the Go runtime, QEMU on x86)"

_WHOLE = re.compile(
    re.escape(_BASE)
    + rb"(?: \S+)*? (?:quiet|debug) panic=1 nr_cpus=[0-9]+(?P<selinux> selinux=[01])?(?: (?P<own>.*))?",
    re.DOTALL,
)


def kata_lines(own: bytes, most_vcpus: int) -> Iterator[Line]:
    """Yield the lines that Kata makes where `own` are the parameters of its configuration, or the reverse.

    `nr_cpus` is the most vCPUs that a pod can have, on auto the number of the host's CPUs.
    """
    whole = _WHOLE.fullmatch(own)
    if whole is not None:
        says = "only the parameters of a Kata configuration, without what its runtime puts before them"
        yield Line.of("without Kata's", whole["own"] or b"", says, _SOURCE, CMDLINE + 7)
        for wanted, verbosity in _VERBOSITY.items():
            for known in _VERBOSITY.values():
                text = own.replace(b" " + known + b" panic=1", b" " + verbosity + b" panic=1", 1)
                says = f"the command line of a Kata runtime that is {wanted}"
                yield Line.of(f"Kata, {wanted}", text, says, _SOURCE, CMDLINE + 9)
        before, selinux, after = _parted(own, whole)
        for other in _SELINUX:
            says = f"the command line of a Kata runtime with{other.decode() or 'out selinux='}"
            name = f"Kata,{other.decode() or ' no selinux'}"
            if other != selinux:
                yield Line.of(name, before + other + after, says, _SOURCE, CMDLINE + 9)
        return
    if own.startswith(_BASE):
        return
    for rank, (wanted, verbosity) in enumerate(_VERBOSITY.items()):
        for selinux in _SELINUX[: 2 - rank]:
            for count in range(1, most_vcpus + 1):
                text = b"%b %b panic=1 nr_cpus=%d%b" % (_BASE, verbosity, count, selinux)
                name = f"Kata, {wanted}, nr_cpus={count}{selinux.decode()}"
                says = f"these parameters after those of Kata ({wanted}, nr_cpus={count}{selinux.decode()})"
                yield Line.of(name, text + b" " + own if own else text, says, _SOURCE, SWEPT + 200 + rank)


def _parted(own: bytes, whole: re.Match[bytes]) -> tuple[bytes, bytes, bytes]:
    """Return what of a line is before what it says of SELinux, that, and what is after it."""
    selinux = whole["selinux"] or b""
    after = b"" if whole["own"] is None else b" " + whole["own"]
    return own[: len(own) - len(selinux) - len(after)], selinux, after
