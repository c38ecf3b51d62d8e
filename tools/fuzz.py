"""Feed the parsers of untrusted bytes with mutated inputs; anything but a SevbuildError is a finding.

    python tools/fuzz.py --seconds 600 [--inputs 100000] [--seed 1] [--jobs 2] [--only firmware]

Each input starts from a valid one, or from noise, and is bent in a few places. JSON and TOML are bent as
trees as well (tools/fuzz_trees.py), counted apart: of those inputs one in twenty must be accepted, or what
lies behind the grammar is not tested. A finding is an exception that is no SevbuildError, or an input that
takes longer than a second; it is written to .cache/fuzz/ and the run ends with exit code 1. The same seed
gives each parser the same inputs in the same order, in each job its own; fast parsers get more of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sevbuild.errors import SevbuildError
from tools.fuzz_targets import TREE, Target, targets

SLOWEST = 1.0
MOST_FINDINGS = 10
LEAST_ACCEPTED = 0.05
BATCH = 20
FEW = 500
"""Inputs below which a share says nothing."""

NUMBERS = (0, 1, 2, 0x0F, 0x10, 0x7F, 0x80, 0xFF, 0x1000, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = b'[[ ]] { } "" """ \'\'\' = . , # \\u0000 \\ 0x -1 1e400 nan inf true 1979-05-27 \n \x00 \xff \xc3\x28'.split()
WORDS += [b"9" * 5000, b"f" * 5000, b" ", b"\n"]


def bend(chance: random.Random, target: Target) -> bytes:
    """Return a seed of `target` bent in a few places, or now and then plain noise."""
    if chance.random() < 0.03:
        return chance.randbytes(chance.choice((0, 1, 16, 4096, 8192)))
    data = bytearray(chance.choice(target.seeds))
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        # What counts stands at the end of a firmware and at the start of everything else.
        low = max(0, len(data) - 1200) if chance.random() < 0.5 else 0
        at = chance.randrange(low, len(data) + 1)
        kind = chance.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            size = chance.choice((1, 2, 4, 8))
            data[at : at + size] = (chance.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, "little")
        elif kind == 2:
            del data[at : at + chance.choice((1, 2, 16, 4096))]
        elif kind == 3:
            source = chance.randrange(len(data) + 1)
            data[at:at] = data[source : source + chance.choice((1, 4, 18, 64, 4096))]
        elif kind == 4 and target.text:
            data[at:at] = (chance.choice(WORDS) * chance.choice((1, 1, 2, 3000)))[:9000]
        elif kind == 5 and target.text:
            lines = bytes(data).split(b"\n")
            line = chance.randrange(len(lines))
            lines[line:line] = [chance.choice(lines)]
            data = bytearray(b"\n".join(lines))
        else:
            data[at : at + 4] = chance.randbytes(4)
    return bytes(data)


class Verdict(NamedTuple):
    """Hold what became of one input: refused in an orderly way, the processor seconds, what is wrong."""

    refused: bool
    seconds: float
    trouble: str | None


class Tally:
    """Count verdicts; keeping them would make the collector's pauses look like slow parsers."""

    def __init__(self) -> None:
        self.inputs = 0
        self.refused = 0
        self.slowest = 0.0

    def add(self, verdict: Verdict) -> None:
        """Count one verdict."""
        self.inputs += 1
        self.refused += verdict.refused
        self.slowest = max(self.slowest, verdict.seconds)

    def join(self, other: Tally) -> None:
        """Count what another job counted."""
        self.inputs += other.inputs
        self.refused += other.refused
        self.slowest = max(self.slowest, other.slowest)

    @property
    def accepted(self) -> float:
        """Return the share of inputs that were accepted."""
        return 1 - self.refused / self.inputs if self.inputs else 0.0

    def __str__(self) -> str:
        return f"{self.inputs:>8} inputs, {self.accepted:6.1%} accepted, slowest {self.slowest:.3f} s"


def judge(target: Target, data: bytes) -> Verdict:
    """Feed one input to a parser."""
    start = time.process_time()
    refused, trouble = False, None
    try:
        target.feed(data)
    except SevbuildError:
        refused = True
    except Exception:  # the very thing this looks for
        trouble = traceback.format_exc()
    taken = time.process_time() - start
    if trouble is None and taken > SLOWEST:
        trouble = f"an input takes more than {SLOWEST} s"
    return Verdict(refused, taken, trouble)


def keep(target: Target, data: bytes, number: int, trouble: str) -> None:
    """Write the input of a finding down and say what it did."""
    folder = ROOT / ".cache" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target.name}-{number}"
    path.write_bytes(data)
    print(f"FINDING in {target.name}, input in {path}\n{trouble}", file=sys.stderr, flush=True)


class Bounds(NamedTuple):
    """Say when a run ends: after so many seconds, or so many inputs (None for any number)."""

    seconds: float
    inputs: int | None


def run(chosen: list[Target], bounds: Bounds, seed: int) -> tuple[dict[str, Tally], set[str]]:
    """Fuzz every target for as long as any other; return the counts by target, and the distinct findings."""
    # A source of its own for each, so that its inputs do not depend on how fast the others are.
    chances = {target.name: random.Random(f"{seed} {target.name}") for target in chosen}
    spent = dict.fromkeys(chances, 0.0)
    tallies = {name: Tally() for name in chances}
    findings: set[str] = set()
    end = time.monotonic() + bounds.seconds
    done = 0
    while time.monotonic() < end and len(findings) < MOST_FINDINGS and done < (bounds.inputs or done + 1):
        target = min(chosen, key=lambda target: spent[target.name])
        chance = chances[target.name]
        start = time.process_time()
        for _ in range(BATCH):
            data = (
                bend(chance, target)
                if target.tree is None
                else target.tree(chance, chance.choice(target.seeds))
            )
            verdict = judge(target, data)
            tallies[target.name].add(verdict)
            if verdict.trouble is not None and verdict.trouble not in findings:
                findings.add(verdict.trouble)
                keep(target, data, seed * MOST_FINDINGS + len(findings), verdict.trouble)
        done += BATCH
        spent[target.name] += time.process_time() - start
    return tallies, findings


def run_jobs(chosen: list[Target], bounds: Bounds, seed: int, jobs: int) -> tuple[dict[str, Tally], set[str]]:
    """Run in so many processes, each with a seed of its own, and add up what they counted."""
    if jobs == 1:
        return run(chosen, bounds, seed)
    inputs = None if bounds.inputs is None else -(-bounds.inputs // jobs)
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        parts = pool.starmap(
            run, [(chosen, bounds._replace(inputs=inputs), seed + number) for number in range(jobs)]
        )
    tallies, findings = parts[0]
    for others, found in parts[1:]:
        findings |= found
        for name, tally in others.items():
            tallies[name].join(tally)
    return tallies, findings


def report(tallies: dict[str, Tally], findings: set[str]) -> bool:
    """Print the counts, and return whether all is well: nothing found, and enough accepted to mean it."""
    for name, tally in tallies.items():
        print(f"{name:<24} {tally}")
    total = sum(tally.inputs for tally in tallies.values())
    shallow = [
        name
        for name, tally in tallies.items()
        if name.endswith(TREE) and tally.inputs >= FEW and tally.accepted < LEAST_ACCEPTED
    ]
    for name in shallow:
        print(f"{name}: less than {LEAST_ACCEPTED:.0%} accepted: what lies behind the grammar is not tested")
    print(f"{total} inputs, {len(findings)} findings")
    return not findings and not shallow


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Fuzz the parsers of untrusted bytes.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--inputs", type=int, help="end after so many inputs over all parsers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", help="one parser, such as manifest or manifest-tree")
    arguments = parser.parse_args()
    chosen = [target for target in targets() if arguments.only in (None, target.name)]
    if not chosen:
        raise SystemExit(f"no parser is called {arguments.only}")
    bounds = Bounds(arguments.seconds, arguments.inputs)
    sys.exit(not report(*run_jobs(chosen, bounds, arguments.seed, arguments.jobs)))


if __name__ == "__main__":
    main()
