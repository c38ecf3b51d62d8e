"""Kill runs that write, at random moments, and have many write to one place; nothing whole may be lost.

    python tools/torture.py [--kills 1000] [--runs 200] [--seed 1] [--no-namespaces]

A kill meets `publish`, `build`, `lock` or `export` in a process that does nothing else, over an output that
is there. After each, the old output or the new one must be in its place, whole; what lies beside it, and
every input, must be as it was; what the kill left must be known by its name; and the next run must put all in
order. In every second kill each step on the disk is followed by a pause, so that kills come between them too.
A tenth more meet the two renames of systems that cannot exchange folders.

Then runs write to one place, twenty at a time, every other twenty in PID namespaces of their own. All must
end with 0, the place must never be empty, and what is in it at the end must be whole. Of a few twenties more,
a third is killed, and the others must not notice.

The first finding ends this with exit code 1, and its folder is left to be looked at.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# All that the verbs import, so that a run consists of what it does.
import cbor2  # noqa: F401
import jinja2  # noqa: F401

import sevbuild.bundle.release
import sevbuild.bundle.write
import sevbuild.commands.launch
import sevbuild.guest.locking
import sevbuild.guest.protected
import sevbuild.reference.export.registry
import sevbuild.reference.release  # noqa: F401
from sevbuild.cli import main as run_sevbuild
from sevbuild.output.disk import Disk

TOGETHER = 20
PAUSE, LONG_PAUSE = 0.002, 0.1
"""The longest pause after a step, and after one of two renames, in seconds."""

_LEFT = re.compile(r"\..+\.sevbuild-(new|old)-[0-9a-f]{16}")
_NAMESPACES = (
    ["unshare", "--pid", "--fork"],
    ["unshare", "--user", "--map-root-user", "--pid", "--fork"],
)

Contents = dict[str, bytes]


class Finding(Exception):  # noqa: N818 - it is what is looked for
    """Tell of something lost, or not whole."""


class Operation(NamedTuple):
    """Hold one way to write: its name, its command, and whether its files come one by one."""

    name: str
    words: tuple[str, ...]
    output: str
    one_by_one: bool = False

    def command(self, manifest: Path, place: Path) -> list[str]:
        """Return the words of the command for a manifest."""
        return [self.words[0], str(manifest), *self.words[1:], "-o", f"{place}/{self.output}"]


OPERATIONS = (
    Operation("publish", ("publish", "--quiet"), "out"),
    Operation("build", ("build", "--quiet"), "out"),
    Operation("lock", ("lock",), "out"),
    Operation("export to a file", ("export", "--quiet", "--format", "hex"), "out"),
    Operation("export to a folder", ("export", "--quiet", "--format", "rvps"), "out/", one_by_one=True),
)


class Scene:
    """Hold two guests, and a place with things of others beside the output of one of them."""

    def __init__(self, folder: Path, operation: Operation) -> None:
        self.operation = operation
        self.place = folder / "place"
        self.out = self.place / "out"
        self.manifests = [self._guest(folder / name, name) for name in ("one", "two")]
        self.place.mkdir()
        self._others()
        self.wholes: list[Contents] = []
        for manifest in reversed(self.manifests):
            if operation.one_by_one:
                self.out.mkdir(exist_ok=True)
                (self.out / "of-others.txt").write_text("in the folder")
            status, said = forked(partial(run, self.command(manifest)))
            if status:
                raise Finding(f"{operation.name} ends with {status} before anything was done to it: {said}")
            self.wholes.insert(0, contents(self.out))
        if self.wholes[0] == self.wholes[1]:
            raise Finding(f"{operation.name} writes the same for both guests")
        self._beside = self._found_beside()[0]
        self._inputs = [contents(manifest.parent) for manifest in self.manifests]

    def command(self, manifest: Path) -> list[str]:
        """Return the command that writes what is of this manifest."""
        return self.operation.command(manifest, self.place)

    def rounds(self, disk: Callable[[], object], after_each: int) -> NoReturn:
        """Write the output of one guest and of the other, for ever, and a byte to a pipe after each.

        `disk` prepares the process.
        """
        disk()
        for manifest in itertools.cycle(reversed(self.manifests)):
            run(self.command(manifest))
            os.write(after_each, b".")
        sys.exit()

    def seconds(self, disk: Callable[[], object]) -> float:
        """Return how long it takes to write an output in a process that `disk` prepares."""

        def write() -> int:
            disk()
            return run(self.command(self.manifests[0]))

        began = time.monotonic()
        forked(write)
        return time.monotonic() - began

    def check(self, *, renames: bool = False) -> tuple[str, int]:
        """Return which output is there, and how many things a kill left; raises Finding."""
        beside, left = self._found_beside()
        if beside != self._beside:
            raise Finding(f"what lies beside the output has changed: {_difference(self._beside, beside)}")
        if [contents(manifest.parent) for manifest in self.manifests] != self._inputs:
            raise Finding("an input has changed")
        if not os.path.lexists(self.out):
            aside = [path for path in left if "-old-" in path.name]
            if not renames or len(aside) != 1 or self._which(contents(aside[0])) is None:
                raise Finding("there is no output, and no whole one beside its place")
            return "aside", len(left)
        found = contents(self.out)
        which = self._which(found)
        if which is None:
            near = min((_difference(whole, found) for whole in self.wholes), key=len)
            raise Finding(f"the output is neither the old one nor the new one: {near} differs")
        return which, len(left)

    def settle(self) -> None:
        """Have one more run put all in order; raises Finding."""
        status, said = forked(lambda: run(self.command(self.manifests[0])))
        if status:
            raise Finding(f"the next run ends with {status}: {said}")
        if self.check() != ("old", 0):
            raise Finding("the next run left something behind")

    def _which(self, found: Contents) -> str | None:
        first, second = self.wholes
        if self.operation.one_by_one:
            whole = found.keys() == first.keys() and all(
                found[name] in (first[name], second[name]) for name in found
            )
            return ("old" if found == first else "new" if found == second else "mixed") if whole else None
        return "old" if found == first else "new" if found == second else None

    def _found_beside(self) -> tuple[Contents, list[Path]]:
        beside: Contents = {}
        left = []
        paths = list(self.place.iterdir())
        # Files that come one by one are begun beside each other.
        paths += self.out.iterdir() if self.operation.one_by_one else []
        for path in paths:
            if _LEFT.fullmatch(path.name):
                left.append(path)
            elif self.out not in (path, path.parent):
                beside |= {f"{path.name}/{name}": data for name, data in contents(path).items()}
        return beside, left

    def _others(self) -> None:
        """Put things there that have names much like those of what runs leave."""
        (self.place / "notes.txt").write_text("notes")
        for name in (f"out.{os.getpid()}.tmp", "out.1.tmp", ".out.sevbuild-new-mine", ".out.tmp"):
            (self.place / name).write_text(name)
        for name in (".out.sevbuild-old", ".out.sevbuild-new-0123"):
            (self.place / name).mkdir()
            (self.place / name / "mine").write_text(name)
        (self.place / "link").symlink_to("notes.txt")

    @staticmethod
    def _guest(folder: Path, name: str) -> Path:
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "guests" / "hello" / "hello.fd", folder)
        (folder / "initrd").write_bytes(random.Random(name).randbytes(1_000_000))
        (folder / "kernel").write_bytes(random.Random(f"kernel {name}").randbytes(100_000))
        (folder / "guest.toml").write_text(
            f'schema = 1\n[guest]\nname = "hello"\nversion = "{name}"\n'
            '[launch]\nmode = "snp"\nprofile = "qemu"\n[firmware]\npath = "hello.fd"\n'
            f'[kernel]\npath = "kernel"\ncmdline = "{name}"\nhashes = false\n[initrd]\npath = "initrd"\n'
            f'[vcpu]\ncount = {[1, 2] if name == "one" else [1, 2, 3]}\nmodel = "EPYC-Milan"\n'
        )
        return folder / "guest.toml"


def contents(path: Path) -> Contents:
    """Return the bytes of every file at a path or below it, less what a kill may leave there."""
    if path.is_dir() and not path.is_symlink():
        files = [one for one in path.rglob("*") if one.is_file() and not _LEFT.fullmatch(one.name)]
        return {str(one.relative_to(path)): one.read_bytes() for one in files}
    return {".": path.read_bytes()}


def _difference(before: Contents, after: Contents) -> str:
    names = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return ", ".join(names[:5])


def run(command: Sequence[str]) -> int:
    """Run one command line in this process and return its exit code."""
    try:
        run_sevbuild(list(command))
    except SystemExit as end:
        return int(end.code or 0)


def forked(work: Callable[[], int | None]) -> tuple[int, str]:
    """Return the exit code of `work` in a process of its own, and what it said on standard error."""
    with tempfile.TemporaryFile() as said:
        status = os.waitpid(_fork(work, said.fileno()), 0)[1]
        said.seek(0)
        return os.waitstatus_to_exitcode(status), said.read().decode("utf-8", "replace").strip()


def _fork(work: Callable[[], int | None], errors: int) -> int:
    sys.stdout.flush()
    process = os.fork()
    if not process:
        status = 70
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(errors, 2)
            status = work() or 0
        finally:
            os._exit(status)
    return process


def pausing(seed: int) -> None:
    """Have each step of this process on the disk followed by a pause."""
    chance = random.Random(seed)
    for name in [name for name in vars(Disk) if not name.startswith("_")]:
        setattr(Disk, name, _paused(getattr(Disk, name), chance, PAUSE))


def renaming(seed: int) -> None:
    """Have this process unable to exchange folders, and rest after each rename."""
    setattr(Disk, "exchange", lambda _self, _first, _second: False)  # noqa: B010 - mypy minds the other form
    setattr(Disk, "rename", _paused(Disk.rename, random.Random(seed), LONG_PAUSE))  # noqa: B010


def _paused(step: Callable[..., object], chance: random.Random, longest: float) -> Callable[..., object]:
    def paused(*arguments: object) -> object:
        found = step(*arguments)
        time.sleep(chance.uniform(0, longest))
        return found

    return paused


def kill_all(seed: int, kills: int, folder: Path) -> None:
    """Kill runs of all operations in turn, and print what was found."""
    began = time.monotonic()
    chance = random.Random(seed)
    scenes = [Scene(folder / f"kills-{index}", operation) for index, operation in enumerate(OPERATIONS)]
    spans = [(scene.seconds(lambda: None), scene.seconds(partial(pausing, seed))) for scene in scenes]
    found: dict[str, Counter[str]] = {operation.name: Counter() for operation in OPERATIONS}
    for number in range(kills):
        scene = scenes[number % len(scenes)]
        slow = number // len(scenes) % 2 == 1
        tell(f"kill {number + 1} of {kills}: {scene.operation.name}")
        prepare = partial(pausing, seed + number) if slow else lambda: None
        _kill(scene, prepare, chance.randrange(2), chance.uniform(0, spans[number % len(scenes)][slow]))
        which, left = scene.check()
        found[scene.operation.name].update([which, "left something"] if left else [which])
        scene.settle()
    print(
        f"{kills} kills in {time.monotonic() - began:.0f} s; after each the old or the new output was whole:"
    )
    for name, counts in found.items():
        print(f"  {name}: {', '.join(f'{count} {what}' for what, count in sorted(counts.items()))}")
    if not kills:
        return
    more = max(2, kills // 10)
    counts = Counter[str]()
    for number in range(more):
        scene = scenes[number % 2]
        tell(f"kill {number + 1} of {more} with two renames: {scene.operation.name}")
        _kill(scene, partial(renaming, seed + number), 0, chance.uniform(0, 2 * spans[number % 2][1]))
        which, left = scene.check(renames=True)
        counts.update([which, "left something"] if left else [which])
        scene.settle()
    print(f"{more} kills of two renames: {', '.join(f'{n} {what}' for what, n in sorted(counts.items()))}")


def _kill(scene: Scene, prepare: Callable[[], object], rounds: int, seconds: float) -> None:
    """Kill a run so many seconds after so many outputs were written."""
    reading, writing = os.pipe()
    with open(os.devnull, "wb") as nowhere:

        def work() -> NoReturn:
            # Without a reader, writing ends this process: it does not outlive the one that is to kill it.
            os.close(reading)
            scene.rounds(prepare, writing)

        process = _fork(work, nowhere.fileno())
    os.close(writing)
    for _ in range(rounds):
        os.read(reading, 1)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    os.close(reading)
    if status != -signal.SIGKILL:
        raise Finding(f"{scene.operation.name} ended by itself with {status}")


class Watch(threading.Thread):
    """Look whether a place is ever empty."""

    def __init__(self, place: Path) -> None:
        super().__init__(daemon=True)
        self._place = place
        self._ended = threading.Event()
        self.looks = 0
        self.empty = 0

    def run(self) -> None:
        """Look until told to end."""
        while not self._ended.is_set():
            self.looks += 1
            self.empty += not os.path.lexists(self._place)
            time.sleep(0.0005)

    def end(self) -> None:
        """End, and wait for that."""
        self._ended.set()
        self.join()


def run_together(seed: int, runs: int, folder: Path, *, namespaces: bool) -> None:
    """Have runs write to one place at once, and print how they ended."""
    began = time.monotonic()
    chance = random.Random(f"together {seed}")
    apart = _namespace_words() if namespaces else []
    ended, looks, in_namespaces = 0, 0, 0
    batches = [min(TOGETHER, runs - start) for start in range(0, runs, TOGETHER)]
    for number, size in enumerate(batches):
        scene = Scene(folder / f"together-{number}", OPERATIONS[number % len(OPERATIONS)])
        # Every operation has its turn with and without.
        words = apart if (number % len(OPERATIONS) + number // len(OPERATIONS)) % 2 else []
        tell(f"{size} runs of {scene.operation.name} at once, {ended} of {runs} done")
        looks += _batch(scene, [words] * size, chance, killed=0)
        in_namespaces += size if words else 0
        ended += size
    print(
        f"{runs} runs in {time.monotonic() - began:.0f} s, {TOGETHER} at a time, {in_namespaces} in PID namespaces"
        f" of their own: all ended with 0; of {looks} looks none found the place empty"
    )
    survivors = 0
    more = min(len(batches), len(OPERATIONS))
    for number in range(more):
        scene = Scene(folder / f"killed-{number}", OPERATIONS[number])
        tell(f"{TOGETHER} runs of {scene.operation.name}, a third of them killed")
        _batch(scene, [[]] * TOGETHER, chance, killed=TOGETHER // 3)
        survivors += TOGETHER - TOGETHER // 3
    print(f"beside {more * (TOGETHER // 3)} more that were killed, {survivors} runs ended with 0")


def _batch(scene: Scene, words: Sequence[Sequence[str]], chance: random.Random, *, killed: int) -> int:
    gate = scene.place.parent / "gate"
    processes = []
    for number, before in enumerate(words):
        manifest = scene.manifests[number % 2]
        command = [*before, sys.executable, __file__, "--gate", str(gate), *scene.command(manifest)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    for process in processes:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise Finding(f"a run does not begin: {process.communicate()[1]}")
    watch = Watch(scene.out)
    watch.start()
    gate.touch()
    victims = chance.sample(processes, killed)
    for process in victims:
        time.sleep(chance.uniform(0, 0.02))
        process.kill()
    ended = [(process.communicate()[1].strip(), process.returncode) for process in processes]
    watch.end()
    failed = [
        said
        for process, (said, status) in zip(processes, ended, strict=True)
        if status and not (process in victims and status == -signal.SIGKILL)
    ]
    if failed:
        raise Finding(f"{len(failed)} of {len(processes)} runs of {scene.operation.name} fail: {failed[0]}")
    if watch.empty:
        raise Finding(f"the place was empty in {watch.empty} of {watch.looks} looks")
    _, left = scene.check()
    if left and not killed:
        raise Finding(f"{left} things were left behind")
    scene.settle()
    return watch.looks


def behind_gate(gate: str, command: Sequence[str]) -> int:
    """Wait until a file is there, then run a command."""
    print("ready", flush=True)
    while not os.path.exists(gate):
        time.sleep(0.001)
    return run(command)


def _namespace_words() -> list[str]:
    for words in _NAMESPACES:
        if (
            shutil.which(words[0])
            and not subprocess.run([*words, "true"], check=False, capture_output=True).returncode
        ):
            return words
    sys.exit("no PID namespace can be made here; --no-namespaces leaves them out")


def tell(what: str) -> None:
    """Show what is done, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{what}")
        sys.stderr.flush()


def main() -> None:
    """Torture, and print what was done."""
    if sys.argv[1:2] == ["--gate"]:
        sys.exit(behind_gate(sys.argv[2], sys.argv[3:]))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-namespaces", action="store_true")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    print(f"seed {given.seed}", flush=True)
    try:
        kill_all(given.seed, given.kills, folder)
        run_together(given.seed, given.runs, folder, namespaces=not given.no_namespaces)
    except Finding as finding:
        tell("")
        sys.exit(f"finding: {finding} (see {folder})")
    tell("")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
