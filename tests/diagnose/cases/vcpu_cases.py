"""vCPU count: twelve threads."""

from __future__ import annotations

from tests.diagnose.cases.case import Case
from tests.diagnose.cases.hosts import EC2_RDX0, GCE_GENOA, LEGACY_FPU

__all__ = ["CASES"]

CONSTELLATION = (
    "c2c84b9364fc9f0f54b04534768c860c6e0e386ad98b96e8b98eca46ac8971d05c531ba48373f054c880cfd1f4a0a84e"
)
AWS_UEFI_10 = (
    "25ac810f5c4750890fb1a158f097962e04d4d7fb640d1d08a99829cf4a70543a47cc6fb192bbe90aa713142361a66155"
)


def _counted(name: str, threads: str, guest: str, count: int, declared: int = 1) -> Case:
    manifest = {"vcpu": {"count": declared}}
    return Case(name, "vcpus", threads, guest, {"vcpus": str(count)}, {"vcpus": count}, manifest)


CASES = [
    _counted("reference values of one vCPU, a pod of four", "trustee#1134", "direct", 4),
    _counted("a pod's CPU limit becomes the count", "c8s#217", "direct", 8, 2),
    _counted("one vCPU more than the limit", "kata nr_cpus tests", "direct", 3, 2),
    _counted("fewer vCPUs than declared", "c8s#422", "direct", 1, 16),
    _counted("sixteen vCPUs of a plain guest", "salmiac#145", "plain", 16),
    _counted("two vCPUs of a plain guest", "oak#4803", "generic", 2),
    _counted("a seed with vCPUs to be appended", "contrast#2344", "dstack", 64, 2),
    _counted("a large machine", "contrast#2344", "generic", 255),
    _counted("the largest count that is tried", "contrast#2344", "plain", 512),
    _counted("SEV-ES with four vCPUs", "constellation#1962", "sev-es", 4),
    _counted("SEV-ES with 192 vCPUs", "constellation#1962", "sev-es", 192),
    _counted("the largest machine of Google Compute Engine", "gce-tcb-verifier counts", "gce", 240),
    Case(
        "three of four published counts never booted",
        "vcpus",
        "c8s#394, c8s#417",
        "direct",
        {"vcpus": "6"},
        {"vcpus": 6},
        {"vcpu": {"count": [2, 4, 8, 16]}},
    ),
    Case(
        "a report of Amazon EC2, two vCPUs",
        "vcpus",
        "constellation (VLEK, 1.54.1)",
        "ec2",
        {"vcpus": "2"},
        {**EC2_RDX0, "vcpus": 2},
        {"launch": {"profile": "ec2-rdx0"}},
        published=CONSTELLATION,
        public=True,
    ),
    Case(
        "a report of Amazon EC2, four vCPUs and RDX 0",
        "vcpus",
        "aws/uefi#10",
        "ec2",
        {"vcpus": "4", "profile": "ec2-rdx0"},
        {**EC2_RDX0, "vcpus": 4},
        {"vcpu": {"count": 2}},
        published=AWS_UEFI_10,
        public=True,
    ),
    Case(
        "more vCPUs of another CPU",
        "vcpus",
        "trustee#1134, kata#13874",
        "direct",
        {"vcpus": "4", "cpu": "0x00a10f10"},
        {"vcpus": 4, "signature": 0xA10F10},
    ),
    Case(
        "more vCPUs on an older host kernel",
        "vcpus",
        "c8s#217, amd/sev-utils#8",
        "generic",
        {"vcpus": "8", "profile": "qemu-snp-legacy-fpu"},
        {"vcpus": 8, **LEGACY_FPU},
    ),
    Case(
        "more vCPUs on a host with DebugSwap",
        "vcpus",
        "AMDSEV#195, c8s#422",
        "direct",
        {"vcpus": "32", "guest-features": "0x21"},
        {"vcpus": 32, "features": 0x21},
    ),
    Case(
        "more vCPUs on Genoa at Google Compute Engine",
        "vcpus",
        "virtee/sev-snp-measure#56, c8s#217",
        "gce",
        {"vcpus": "96", "profile": "gce-genoa"},
        {"vcpus": 96, **GCE_GENOA},
    ),
    Case(
        "more vCPUs without kernel hashes",
        "vcpus",
        "c8s#422, AMDSEV#142",
        "direct",
        {"vcpus": "2", "kernel-hashes": "off"},
        {"vcpus": 2, "hashes": None},
    ),
    Case(
        "more vCPUs of another CPU on a host with DebugSwap",
        "vcpus",
        "AMDSEV#212, kata#13874",
        "direct",
        {"vcpus": "12", "cpu": "0x00a00f11", "guest-features": "0x21"},
        {"vcpus": 12, "signature": 0xA00F11, "features": 0x21},
    ),
    Case(
        "more vCPUs of another CPU on an older host kernel",
        "vcpus",
        "amd/sev-utils#8, aleph-vm#1145",
        "plain",
        {"vcpus": "6", "cpu": "0x00a00f11", "profile": "qemu-snp-legacy-fpu"},
        {"vcpus": 6, "signature": 0xA00F11, **LEGACY_FPU},
    ),
    Case(
        "more vCPUs than are tried",
        "vcpus",
        "contrast#2344",
        "plain",
        host={"vcpus": 600},
        excludes=r"512",
    ),
]
