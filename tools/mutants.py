"""Change the core in thousands of small ways; the tests beside it must notice each.

    python tools/mutants.py [FOLDER | MODULE]

The mutants are cosmic-ray's (`mutant_source.py`). The tests beside a folder run once, and it is written down
which lines each of them runs. Then every mutant gets a fork of that process in which its function has the
changed code, and the tests that run its statement, the quick ones first, until one fails. A mutant that takes
ten times the processor time of its tests and more is stopped, and counts as noticed.

A mutant that no test notices survives. Either it is in `tests/data/mutants-equivalent.toml`, with the reason
why nobody could notice, or this ends with exit code 1, as it does where that list names one that does not.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import coverage
import pytest
import tomli
from hypothesis import Phase, settings

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.mutant_source import ROOT, Key, Mutant, modules, mutants

EQUIVALENT = ROOT / "tests" / "data" / "mutants-equivalent.toml"
QUICK = "not slow and not emulator and not e2e"
"""What is slow proves too much too late: a fork runs quick tests of its own process."""
_CACHED = type(functools.lru_cache(len))
MEMORY = 2 << 30
"""Bytes that the fork of a mutant may add: an endless list ends there."""

KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"
BROKEN = "not put in place"
_CODES = {4: BROKEN, 5: SURVIVED}
"""How a fork says so; 0 is not among them, for a mutant may end the process before its tests do."""
_PYTEST = [
    *("-q", "-x", "-s", "-m", QUICK),
    *("-p", "no:cacheprovider", "-p", "no:xdist"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # Hypothesis is imported here
]


def folder_of(module: str) -> str:
    """Return the folder of a module below sevbuild/; the tests beside it have its name."""
    return module.split("/", maxsplit=1)[0]


class NotInPlaceError(Exception):
    """A function whose mutant could not be put in its place."""


class Outcome(NamedTuple):
    """A mutant and how it ended."""

    mutant: Mutant
    ending: str


def unchanged(mutant: Mutant) -> Mutant:
    """Return a mutant that is none, which must survive: else everything would seem to be noticed."""
    return mutant._replace(code=(ROOT / "sevbuild" / mutant.key.module).read_text())


class Limit(NamedTuple):
    """What a fork may take: seconds of processor time, and of time."""

    processor: float
    clock: float


def in_fork(run: Callable[[], bool], limit: Limit) -> str:
    """Run in a fork, where True says that a test failed; return how the mutant ended."""
    sys.stdout.flush()
    place = tempfile.mkdtemp(prefix="mutant-")
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            seconds = int(time.process_time() + limit.processor) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
            tempfile.tempdir = os.environ["TMPDIR"] = place
            code = 1 if run() else 5
        except NotInPlaceError:
            code = 4
        except BaseException:  # whatever a mutant raises, it was noticed
            code = 3
        finally:
            os._exit(code)
    ending = _wait(child, limit.clock)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    shutil.rmtree(place, ignore_errors=True)
    return ending


def _wait(child: int, seconds: float) -> str:
    end = time.monotonic() + seconds
    pause = 0.001
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if os.WIFSIGNALED(status):
                over = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
                return TIMED_OUT if over else KILLED
            return _CODES.get(os.WEXITSTATUS(status), KILLED)
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return TIMED_OUT
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


class Quiet:
    """A plugin for runs that only ask whether a test fails: no example is made smaller or kept."""

    def pytest_collection(self) -> None:
        """Say so before a test module is imported."""
        settings.register_profile(
            "mutants", settings.default, phases=(Phase.explicit, Phase.generate), database=None
        )
        settings.load_profile("mutants")


@contextlib.contextmanager
def no_output() -> Iterator[None]:
    """Send what is written to the first two descriptors nowhere."""
    sys.stdout.flush()
    kept = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1), os.dup2(null, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        for number, copy in enumerate(kept, 1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(null)


class Forks:
    """A plugin that runs the tests once, and then a fork for each mutant."""

    def __init__(self, wanted: Sequence[Mutant], tell: Callable[[Outcome], None]) -> None:
        self.faults: list[str] = []
        self._wanted, self._tell = wanted, tell
        self._items: dict[str, Any] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._by_line: dict[str, dict[int, list[str]]] = {}
        self._failed: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note how long each test takes, and which fail."""
        self._seconds[report.nodeid] += report.duration
        if report.failed:
            self._failed.append(report.nodeid)

    def pytest_runtestloop(self, session: Any) -> bool:
        """Run every test, then every mutant."""
        self._items = {item.nodeid: item for item in session.items}
        with no_output():
            self._run_all(session.items)
        if self._failed:
            self.faults = [f"fails without a mutant: {name}" for name in self._failed]
            return True
        gc.collect()
        self._things = [thing for thing in gc.get_objects() if is_ours(thing)]
        gc.freeze()  # so that forks share what is there
        self._check_forks()
        for mutant in self._wanted if not self.faults else ():
            self._tell(self._judge(mutant))
        return True

    def _run_all(self, items: Sequence[Any]) -> None:
        watch = coverage.Coverage(data_file=None, config_file=False, source=[str(ROOT / "sevbuild")])
        watch.start()
        for item, following in zip(items, [*items[1:], None], strict=True):
            watch.switch_context(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        watch.stop()
        data = watch.get_data()
        self._by_line = {path: data.contexts_by_lineno(path) for path in data.measured_files()}

    def _check_forks(self) -> None:
        """See that a fork with nothing changed survives: else every mutant would seem to be noticed."""
        for mutant in {it.key.module: it for it in self._wanted}.values():
            ending = self._judge(unchanged(mutant)).ending
            if ending != SURVIVED:
                self.faults.append(f"{mutant.key.module}: {mutant.key.function} {ending} without a mutant")

    def _judge(self, mutant: Mutant) -> Outcome:
        path = str(ROOT / "sevbuild" / mutant.key.module)
        lines = self._by_line.get(path, {})
        names = {name for line in mutant.lines for name in lines.get(line, ()) if name in self._items}
        ordered = sorted(names, key=lambda name: (self._seconds[name], name))
        if not ordered:
            return Outcome(mutant, SURVIVED)
        seconds = sum(self._seconds[name] for name in ordered)
        run = functools.partial(self._run, mutant, path, [self._items[name] for name in ordered])
        return Outcome(mutant, in_fork(run, Limit(10 * seconds + 5, 40 * seconds + 60)))

    def _run(self, mutant: Mutant, path: str, items: Sequence[Any]) -> bool:
        self._failed.clear()
        items[0].config._tmp_path_factory._basetemp = Path(tempfile.gettempdir())  # noqa: SLF001
        put_in_place(mutant, path, self._things)
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                return True
        return False


def is_ours(thing: object) -> bool:
    """Tell whether something is a function of this tree, or one that remembers."""
    if isinstance(thing, FunctionType):
        return thing.__code__.co_filename.startswith(str(ROOT / "sevbuild"))
    return isinstance(thing, _CACHED) and str(thing.__module__).startswith(("sevbuild", "tests"))


def codes(code: CodeType, before: str = "") -> Iterator[tuple[str, CodeType]]:
    """Return the code objects of the functions of a module and of its classes, by their dotted names."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            name = before + constant.co_name
            yield name, constant
            if not constant.co_flags & 0x2:  # CO_NEWLOCALS is set for functions, not for classes
                yield from codes(constant, name + ".")


def put_in_place(mutant: Mutant, path: str, things: Sequence[Any]) -> None:
    """Give the function of a mutant its code, wherever it is held, and empty what is remembered."""
    whole = compile(mutant.code, path, "exec")
    new = {code.co_firstlineno: code for name, code in codes(whole) if name == mutant.key.function}
    found = 0
    for thing in things:
        if isinstance(thing, _CACHED):
            thing.cache_clear()
        elif thing.__code__.co_filename == path and thing.__code__.co_firstlineno in new:
            code = new[thing.__code__.co_firstlineno]
            if code.co_name == thing.__code__.co_name:
                thing.__code__ = code
                found += 1
    if not found:
        raise NotInPlaceError


# The list of those that nobody could notice.


def equivalents() -> dict[Key, str]:
    """Return the mutants that are listed, and why each is no fault."""
    found = {}
    for entry in tomli.loads(EQUIVALENT.read_text()).get("mutant", []):
        after = entry["after"] if isinstance(entry["after"], list) else [entry["after"]]
        for text in after:
            key = Key(entry["module"], entry["function"], entry["before"], text, entry.get("number", 1))
            found[key] = str(entry["why"])
    return found


class Tally:
    """What came of the mutants, told as it comes."""

    def __init__(self, known: dict[Key, str], total: int) -> None:
        self.outcomes: list[Outcome] = []
        self._known, self._total = known, total
        self._start = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        """Take in one, and tell it where it is a survivor that is not listed."""
        self.outcomes.append(outcome)
        if outcome.ending == BROKEN:
            print(f"{BROKEN}: {outcome.mutant.key}", flush=True)
        if outcome.ending == SURVIVED and outcome.mutant.key not in self._known:
            print(f"survived, line {outcome.mutant.lines.start}: {outcome.mutant.key}", flush=True)
        if len(self.outcomes) % 200 == 0:
            seconds = time.monotonic() - self._start
            print(f"  {len(self.outcomes)} of {self._total} mutants, {seconds:.0f} s", flush=True)

    def finish(self, names: Sequence[str]) -> int:
        """Print the numbers of these modules of one folder; return the exit code."""
        survivors = {outcome.mutant.key for outcome in self.outcomes if outcome.ending == SURVIVED}
        unlisted = survivors - set(self._known)
        stale = [key for key in self._known if key.module in names and key not in survivors]
        every = {outcome.mutant.key for outcome in self.outcomes}
        for key in stale:
            print(f"listed as equivalent, but {'noticed' if key in every else 'not there'}: {key}")
        print(f"{'':10}{'mutants':>9}{'killed':>9}{'timed out':>11}{'equivalent':>12}{'survived':>10}")
        ends = Counter(outcome.ending for outcome in self.outcomes)
        listed, left = ends[SURVIVED] - len(unlisted), len(unlisted)
        numbers = f"{ends[KILLED]:9}{ends[TIMED_OUT]:11}{listed:12}{left:10}"
        print(f"{folder_of(names[0]):10}{len(self.outcomes):9}{numbers}", flush=True)
        return 1 if unlisted or stale or ends[BROKEN] else 0


def main() -> int:
    """Judge the mutants of the modules that are named, each folder in a process of its own."""
    names = modules(sys.argv[1] if len(sys.argv) > 1 else "")
    folder, *others = dict.fromkeys(folder_of(name) for name in names)
    os.chdir(ROOT)
    if others:
        # What the tests of one folder have imported, and remember, is not there for those of the next.
        return max([subprocess.call([sys.executable, __file__, name]) for name in (folder, *others)])
    wanted = [mutant for name in names for mutant in mutants(name)]
    tally = Tally(equivalents(), len(wanted))
    forks = Forks(wanted, tally.add)
    pytest.main([*_PYTEST, f"tests/{folder}"], plugins=[Quiet(), forks])
    if forks.faults:
        raise SystemExit("\n".join(forks.faults))
    return tally.finish(names)


if __name__ == "__main__":
    result = main()
    sys.stdout.flush()
    os._exit(result)  # the libraries that the tests use have nothing to say at the end
