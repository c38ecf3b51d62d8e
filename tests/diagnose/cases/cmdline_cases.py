"""The bytes of the command line, of which a single one makes another digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.diagnose.cases.case import Case, Peer
from tests.diagnose.cases.world import CMDLINE, World, direct

__all__ = ["CASES"]

LINE = CMDLINE.encode()
PARAMETERS = "agent.log=debug agent.debug_console cc_rootfs_verity.scheme=dm-verity"
KATA = (
    "tsc=reliable no_timer_check rcupdate.rcu_expedited=1 i8042.direct=1 i8042.dumbkbd=1 i8042.nopnp=1 "
    "i8042.noaux=1 noreplace-smp reboot=k cryptomgr.notests net.ifnames=0 pci=lastbus=0 quiet panic=1 "
    "nr_cpus={count} selinux=0 "
)
"""What Kata's Go runtime puts before the configuration's kernel_params (attest-explain.md, section 7)."""

Host = Callable[[World], Mapping[str, Any]]


def _line(cmdline: bytes, **more: Any) -> Host:
    return lambda world: {"hashes": direct(world, cmdline), **more}


def _cmdline(text: str) -> Mapping[str, Any]:
    return {"kernel": {"cmdline": text}}


CASES = [
    Case(
        "a newline at the end of the line",
        "kernel",
        "kata-tests#5235, edk2 command line",
        "direct",
        {"cmdline": "with a newline"},
        _line(LINE + b"\n"),
    ),
    Case(
        "a newline that was not passed on",
        "kernel",
        "kata-tests#5235",
        "direct",
        {"cmdline": "without its newline"},
        manifest=_cmdline(CMDLINE + "\n"),
    ),
    Case(
        "a space at the end of the line",
        "kernel",
        "edk2 command line",
        "direct",
        {"cmdline": "with a space at its end"},
        _line(LINE + b" "),
    ),
    Case(
        "a second NUL",
        "kernel",
        "edk2 command line",
        "direct",
        {"cmdline": "with a NUL of its own"},
        _line(LINE + b"\0"),
    ),
    Case(
        "a space before the line",
        "kernel",
        "kata#4270",
        "direct",
        {"cmdline": "with a space before it"},
        _line(b" " + LINE),
    ),
    Case(
        "doubled spaces that a shell made one",
        "kernel",
        "kata#4270",
        "direct",
        {"cmdline": "with single spaces"},
        manifest=_cmdline(CMDLINE.replace(" ", "  ")),
    ),
    Case(
        "quotes that went on to the guest",
        "kernel",
        "kata#4270",
        "direct",
        {"cmdline": "with quotes around it"},
        _line(b'"' + LINE + b'"'),
    ),
    Case(
        "no command line at all",
        "kernel",
        "operator#143",
        "direct",
        {"cmdline": "empty"},
        _line(b""),
    ),
    Case(
        "initrd= put before the line by a boot loader",
        "kernel",
        "dstack#1183",
        "direct",
        {"cmdline": "with initrd=initrd"},
        _line(LINE + b" initrd=initrd"),
    ),
    Case(
        "nr_cpus of the host's, not of the guest's",
        "kernel",
        "kata nr_cpus tests",
        "direct",
        {"cmdline": "nr_cpus=128"},
        _line(LINE + b" nr_cpus=128"),
        _cmdline(CMDLINE + " nr_cpus=4"),
    ),
    Case(
        "nr_cpus that follows the vCPU count",
        "kernel",
        "kata nr_cpus tests, c8s#217",
        "direct",
        {"cmdline": "nr_cpus=8", "vcpus": "8"},
        _line(LINE + b" nr_cpus=8", vcpus=8),
        {"kernel": {"cmdline": CMDLINE + " nr_cpus={vcpus}"}, "vcpu": {"count": 2}},
    ),
    Case(
        "Kata's own parameters before the configuration's",
        "kernel",
        "kata#4270, kata-tests#5235",
        "direct",
        {"cmdline": "Kata's parameters before it"},
        _line((KATA.format(count=32) + PARAMETERS).encode()),
        _cmdline(PARAMETERS),
    ),
    Case(
        "Kata with another maximum of vCPUs",
        "kernel",
        "kata nr_cpus tests",
        "direct",
        {"cmdline": "nr_cpus=128"},
        _line((KATA.format(count=128) + PARAMETERS).encode()),
        _cmdline(KATA.format(count=4) + PARAMETERS),
    ),
    Case(
        "the command line of another pod",
        "kernel",
        "kata-tests#5235",
        "direct",
        {"cmdline": "that of the file given"},
        _line(b"console=ttyS0 root=/dev/vdb ro quiet"),
        options=["--cmdline", "@other.cmdline"],
    ),
    Case(
        "snpguest trims the line",
        "kernel",
        "virtee/sev, edk2 command line",
        "direct",
        {"cmdline": "trimmed"},
        manifest=_cmdline(f" {CMDLINE} "),
        peer=Peer(
            "snpguest 0.11.0",
            [
                *("--vcpus", "1", "--vcpu-type", "EPYC-v4", "--vmm-type", "QEMU", "--ovmf", "@amdsev"),
                *("--kernel", "@kernel", "--initrd", "@initrd", "--append", f" {CMDLINE} "),
            ],
        ),
    ),
    Case(
        "a newline, and more vCPUs",
        "kernel",
        "c8s#217, kata-tests#5235",
        "direct",
        {"cmdline": "with a newline", "vcpus": "16"},
        _line(LINE + b"\n", vcpus=16),
    ),
    Case(
        "a newline, and another CPU",
        "kernel",
        "aleph-vm#1145, kata-tests#5235",
        "direct",
        {"cmdline": "with a newline", "cpu": "0x00a10f10"},
        _line(LINE + b"\n", signature=0xA10F10),
    ),
    Case(
        "a command line that nobody has",
        "kernel",
        "kata-tests#5235",
        "direct",
        host=_line(b"console=ttyS0 root=/dev/vdb ro quiet"),
        excludes=r"firmware or kernel hashes",
    ),
    Case(
        "a command line that nobody has, plain SEV",
        "kernel",
        "kata#4270",
        "sev",
        host=_line(b"console=ttyS0 root=/dev/vdb ro quiet"),
        excludes=r"firmware or kernel hashes",
    ),
]
