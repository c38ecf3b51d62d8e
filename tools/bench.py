"""Measure the measurer: ratios against sev-snp-measure and raw hashlib, in one run, on one machine.

`make bench` installs the wheel and the peer side by side, as their users would, and runs them in turn:
A B A B. Ratios are medians of pairs; absolute times say more of the machine than of the program, so none
is kept. The table goes to docs/benchmarks.md, between its markers.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-bench"
REPORT = ROOT / "docs" / "benchmarks.md"
VECTORS = Path(os.environ.get("SEVBUILD_VECTORS", ROOT.parent / "shared" / "vectors")) / "reports"
BEGIN, END = "<!-- bench: begin -->\n", "<!-- bench: end -->\n"
PAIRS = int(os.environ.get("SEVBUILD_BENCH_PAIRS", "15"))
MIB = 1 << 20

CHAIN = """
import sys, time, statistics
from hashlib import sha384
sys.path.insert(0, {tests!r})
from sevbuild.launch.page_digest import INITIAL_DIGEST, PageHasher, extend
from sevbuild.launch.page_type import PageType
from sevbuild.launch.update import LaunchUpdate
data = open({path!r}, "rb").read()
def raw():
    view = memoryview(data)
    for start in range(0, len(data), 4096):
        sha384(view[start:start + 4096]).digest()
def chain():
    update = LaunchUpdate((1 << 32) - len(data), PageType.NORMAL, len(data), data, "firmware")
    extend(INITIAL_DIGEST, update, PageHasher())
def timed(work):
    start = time.perf_counter(); work(); return time.perf_counter() - start
raw(); chain()
print(statistics.median(timed(raw) / timed(chain) for _ in range({pairs})))
"""


class Run(NamedTuple):
    """Hold wall seconds and peak resident KiB of one process."""

    seconds: float
    peak: int


class Row(NamedTuple):
    """Hold one line of the report."""

    what: str
    ratio: float
    bound: str
    met: bool


def run(command: Sequence[str]) -> Run:
    """Run a command to its end; anything but success ends the benchmark."""
    start = time.perf_counter()
    # A light parent: a child's peak memory counts that of the process it was forked from.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed ({process.returncode}): {' '.join(command)}")
    return Run(seconds, usage.ru_maxrss)


def pairs(ours: Sequence[str], theirs: Sequence[str], count: int = PAIRS) -> tuple[float, float]:
    """Return the median ratios of time and of peak memory, ours to theirs, run in turn."""
    run(ours)
    run(theirs)
    found = [(run(ours), run(theirs)) for _ in range(count)]
    return (
        statistics.median(a.seconds / b.seconds for a, b in found),
        statistics.median(a.peak / b.peak for a, b in found),
    )


def verify_command(ours: str) -> list[str]:
    """Return the command that verifies a report of hardware, with its certificate, at a date."""
    report = VECTORS / "genoa-v5-oak.report.bin"
    digest = report.read_bytes()[0x90:0xC0].hex()
    certificate = str(VECTORS / "genoa-v5-oak.vcek.der")
    return [ours, "verify", str(report), "--certs", certificate, "--expect", digest, "--at", "2026-06-01"]


def random_file(path: Path, size: int) -> None:
    """Write random bytes without holding them."""
    with path.open("wb") as stream:
        for _ in range(size // MIB):
            stream.write(os.urandom(MIB))


def install() -> None:
    """Install the wheel of this tree and the peer into a fresh environment, byte code compiled."""
    shutil.rmtree(VENV, ignore_errors=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    command = [
        str(VENV / "bin" / "python"),
        "-m",
        "pip",
        "install",
        "--quiet",
        str(ROOT),
        "sev-snp-measure==0.0.13",
    ]
    subprocess.run(command, check=True, env=environment)


def manifest(folder: Path, firmware: Path, initrd: Path) -> Path:
    """Write the manifest of one target over these files."""
    path = folder / f"{initrd.stem}.toml"
    path.write_text(
        f"""schema = 1
guest = {{ name = "bench", version = "1" }}
launch = {{ mode = "snp", profile = "qemu", policy = 0x30000, guest-features = 0x1 }}
firmware = {{ path = "{firmware}" }}
kernel = {{ path = "{folder / "kernel"}", cmdline = "console=ttyS0" }}
initrd = {{ path = "{initrd}" }}
vcpu = {{ count = 1, model = "EPYC-Milan" }}
"""
    )
    return path


def main() -> None:  # noqa: PLR0915 - one comparison after the other
    """Run every comparison and write the table."""
    install()
    ours = str(VENV / "bin" / "sevbuild")
    python = str(VENV / "bin" / "python")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="sevbuild-bench-") as name:
        folder = Path(name)
        sys.path.insert(0, str(ROOT))
        from tests.support.firmware import make_firmware
        from tools.bench_igvm import igvm_ratios
        from tools.bench_search import search_ratios

        firmware = folder / "OVMF.fd"
        sections = [
            (0x800000, 0x9000, 1),
            (0x80D000, 0x1000, 2),
            (0x80E000, 0x1000, 3),
            (0x810000, 0x1000, 0x10),
        ]
        firmware.write_bytes(
            make_firmware(
                size=4 * MIB,
                sections=sections,
                reset=0x80B004,
                hash_table=(0x810C00, 0x400),
                fill=os.urandom(4 * MIB),
            )
        )
        random_file(folder / "kernel", 15 * MIB)
        manifests = {}
        for size in (30, 256, 1024):
            initrd = folder / f"initrd{size}"
            random_file(initrd, size * MIB)
            manifests[size] = [ours, "measure", "--quiet", str(manifest(folder, firmware, initrd))]

        def peer(size: int) -> list[str]:
            return [
                str(VENV / "bin" / "sev-snp-measure"), "--mode", "snp", "--vcpus", "1", "--vcpu-type", "EPYC-Milan",
                "--guest-features", "0x1", "--ovmf", str(firmware), "--kernel", str(folder / "kernel"),
                "--initrd", str(folder / f"initrd{size}"), "--append", "console=ttyS0",
            ]  # fmt: skip

        print("one target, 4 MiB firmware + 15 MiB kernel + 30 MiB initrd", flush=True)
        equal = [
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for command in (manifests[30], peer(30))
        ]
        if equal[0] != equal[1]:
            sys.exit(f"the digests differ: {equal}")
        time_30, memory_30 = pairs(manifests[30], peer(30))
        rows.append(
            Row("one target, 30 MiB initrd: time / sev-snp-measure", time_30, "<= 1.3", time_30 <= 1.3)
        )
        rows.append(
            Row(
                "one target, 30 MiB initrd: peak memory / sev-snp-measure",
                memory_30,
                "< 1.2",
                memory_30 < 1.2,
            )
        )
        print("the same with a 256 MiB initrd", flush=True)
        time_256, memory_256 = pairs(manifests[256], peer(256), max(PAIRS // 2, 3))
        rows.append(
            Row("one target, 256 MiB initrd: time / sev-snp-measure", time_256, "<= 0.9", time_256 <= 0.9)
        )
        rows.append(
            Row(
                "one target, 256 MiB initrd: peak memory / sev-snp-measure",
                memory_256,
                "< 0.4",
                memory_256 < 0.4,
            )
        )
        print("memory with a 1 GiB initrd", flush=True)
        flat = run(manifests[1024]).peak / run(manifests[30]).peak
        rows.append(Row("peak memory, 1 GiB initrd / 30 MiB initrd", flat, "<= 1.05", flat <= 1.05))
        print("the fleet of 960 values", flush=True)
        hello = ROOT / "guests" / "hello"
        single = [ours, "measure", "--quiet", str(hello / "guest.toml")]
        fleet = [ours, "measure", "--quiet", str(ROOT / "guests" / "fleet" / "guest.toml")]
        fleet_time, _ = pairs(fleet, single)
        rows.append(Row("fleet of 960 values / one value of ours", fleet_time, "<= 1.5", fleet_time <= 1.5))
        one = [
            str(VENV / "bin" / "sev-snp-measure"), "--mode", "snp", "--vcpus", "32", "--vcpu-type", "EPYC-Milan",
            "--guest-features", "0x1", "--ovmf", str(hello / "hello.fd"),
        ]  # fmt: skip
        against_one, _ = pairs(fleet, one)
        against = against_one / 960
        rows.append(
            Row("fleet of 960 values / 960 values of sev-snp-measure", against, "< 0.0025", against < 0.0025)
        )
        release = [ours, "publish", "--quiet", fleet[-1], "-o", str(folder / "release")]
        published, _ = pairs(release, single)
        rows.append(
            Row("publish 960 values in every format / measure one", published, "<= 3", published <= 3)
        )
        print("the SNP chain against raw SHA-384 of the same pages", flush=True)
        real = next((path for path in map(Path, ("/usr/share/OVMF/OVMF_CODE_4M.fd",)) if path.exists()), None)
        for label, path in (("random pages", firmware), ("Debian's OVMF", real)):
            if path is None:
                continue
            script = CHAIN.format(tests=str(ROOT), path=str(path), pairs=41)
            result = subprocess.run([python, "-c", script], check=True, capture_output=True, text=True)
            chain = float(result.stdout)
            rows.append(
                Row(
                    f"SNP chain, throughput / raw SHA-384 page by page, {label}",
                    chain,
                    ">= 0.8",
                    chain >= 0.8,
                )
            )
        print("a 512 MiB IGVM file", flush=True)
        igvm_time, igvm_memory = igvm_ratios([ours], folder)
        rows += [
            Row("512 MiB IGVM file: time / raw SHA-384 page by page", igvm_time, "<= 1.1", igvm_time <= 1.1),
            Row("peak memory, 512 MiB / 32 MiB IGVM file", igvm_memory, "<= 1.05", igvm_memory <= 1.05),
        ]
        print("the search for a launch digest", flush=True)
        snp, es, two, held = search_ratios(sys.executable)
        rows += [
            Row("search, SNP launches / raw SHA-384 of 112 bytes, one processor", snp, ">= 0.7", snp >= 0.7),
            Row("search, SEV-ES launches / raw SHA-256 of a page, one processor", es, ">= 0.7", es >= 0.7),
            Row("search, launches a second in two processes / in one", two, ">= 1.8", two >= 1.8),
            Row("search, peak memory, 10^8 launches / 10^6", held, "<= 1.2", held <= 1.2),
        ]
        if VECTORS.is_dir():
            print("a report", flush=True)
            verified, _ = pairs(
                verify_command(ours), [python, "-c", "import typer; from cryptography import x509"]
            )
            rows.append(
                Row("verify one report / importing typer and cryptography", verified, "<= 2", verified <= 2)
            )
    table = "| ratio | median | wanted | met |\n| --- | --- | --- | --- |\n"
    table += "".join(
        f"| {row.what} | {row.ratio:.4g} | {row.bound} | {'yes' if row.met else 'no'} |\n" for row in rows
    )
    print(table)
    text = REPORT.read_text()
    head, _, rest = text.partition(BEGIN)
    REPORT.write_text(head + BEGIN + table + END + rest.partition(END)[2])


main()
