"""What is put together from pieces is what the planner and the model launch, for every rule."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sevbuild.diagnose import bodies
from sevbuild.diagnose import tries as tries_module
from sevbuild.diagnose.chains import BodyChains
from sevbuild.diagnose.change import Change, Start
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.kept import Kept
from sevbuild.diagnose.patches import FREE, patch_between, patched
from sevbuild.diagnose.rules.all_rules import changes_for
from sevbuild.diagnose.setup import Body, Setup, Tail
from sevbuild.diagnose.tries import Hit, Tries
from sevbuild.diagnose.variations import NONE, Tile, Variations
from sevbuild.errors import SevbuildError
from sevbuild.guest.foreign import ForeignFile
from sevbuild.igvm.headers import PlatformType, SupportedPlatform
from sevbuild.image.ovmf import Firmware
from sevbuild.launch.mode import MODES, Mode
from sevbuild.launch.page_type import PageType
from sevbuild.launch.planner import Planner
from sevbuild.launch.update import LaunchUpdate
from sevbuild.vcpu.save_area import build_vmsa, parse_vmsa
from tests.support.igvm import BSP, SNP, VMSA, write_file
from tests.support.near_misses import FIRMWARES, laid_out
from tests.support.near_misses import start_of as own_start
from tests.support.starts import digest, kernel_guest, profiles, start_of

FOREVER = float("inf")


def _space(start: Start) -> Variations:
    space = Variations(0, start, [start.setup.vcpus], lambda one: changes_for(one, profiles()), Kept(9))
    space.open()
    return space


def _tile(space: Variations, changes: tuple[int, ...], vcpus: int) -> Tile:
    """Return the tile that tries one set of changes, and others beside it."""
    bodies = [index for index in changes if index in space.body]
    tails = [index for index in changes if index in space.tail]
    last = {*bodies[-1:], *tails[-1:]}
    made = tuple(index for index in changes if index not in last)

    def around(side: range, index: list[int]) -> tuple[int, int]:
        return (max(side.start, index[-1] - 2), min(side.stop, index[-1] + 3)) if index else NONE

    return Tile(0, made, around(space.body, bodies), around(space.tail, tails), vcpus)


@pytest.mark.parametrize("mode", MODES)
def test_every_combination_of_rules_is_put_together_as_it_is_launched(mode: Mode, tmp_path: Path) -> None:
    """One change of each kind, beside what each of the others touches: bodies and tails are independent."""
    start = start_of(kernel_guest(tmp_path, launch={"mode": mode}, vcpu={"count": 2}))
    space, random = _space(start), Random(3)
    axes: dict[str, list[int]] = {}
    for index, change in enumerate(space.changes):
        axes.setdefault(change.axis, []).append(index)
    launched = 0
    for size in (1, 2, 3):
        for names in combinations(sorted(axes), size):
            changes = tuple(sorted(random.choice(axes[name]) for name in names))
            vcpus = random.choice((0, 4))
            try:
                setup = space.setup(changes)
                wanted = digest(setup.with_vcpus(3) if vcpus else setup)
            except SevbuildError:
                continue
            launched += 1
            result = Tries(wanted).run(space, _tile(space, changes, vcpus), FOREVER)
            # Another set of changes may launch the same; what launches as one of fewer is left to that.
            found = [digest(space.setup(hit.changes).with_vcpus(hit.vcpus)) for hit in result.hits]
            assert all(one == wanted for one in found)
            assert found or _launches_as_fewer(space, changes, 3 if vcpus else setup.vcpus, wanted), changes
            assert result.completed
    assert launched > 10


def _launches_as_fewer(space: Variations, changes: tuple[int, ...], vcpus: int, wanted: bytes) -> bool:
    """Tell whether some of these changes, and others that were tried before, launch the same."""
    for left_out in changes:
        fewer = tuple(index for index in changes if index != left_out)
        try:
            if digest(space.setup(fewer).with_vcpus(vcpus)) == wanted:
                return True
        except SevbuildError:
            continue
    both = [index for index in changes if index in space.both]
    rest = tuple(index for index in changes if index not in both)
    tries = Tries(wanted)
    tile = _tile(space, rest, vcpus)
    return bool(both) and bool(tries.run(space, tile._replace(vcpus=max(vcpus, 1)), FOREVER).hits)


@pytest.mark.parametrize("mode", ["sev-es", "snp"])
def test_a_patched_tail_is_the_one_that_is_laid_out(mode: Mode, tmp_path: Path) -> None:
    start = start_of(kernel_guest(tmp_path, launch={"mode": mode}, vcpu={"count": 2}))
    space, random, planner = _space(start), Random(4), Planner()
    free = {axis: [index for index in space.tail if space.changes[index].axis == axis] for axis in FREE}
    assert all(free.values())
    tried = 0
    for both in (None, *space.both):
        made = () if both is None else (both,)
        for _ in range(5):
            cpu, features = random.choice(free["cpu"]), random.choice(free["guest-features"])
            try:
                tails = [
                    space.setup((*made, *more)).tail(planner)
                    for more in ((), (cpu,), (features,), (cpu, features))
                ]
            except SevbuildError:
                continue
            patch = patch_between(tails[0], tails[2])
            assert patch is not None
            assert patched(tails[1], patch) == tails[3]
            tried += 1
    assert tried > 20


def test_a_value_that_vmsas_have_by_chance_tells_nothing_of_others(tmp_path: Path) -> None:
    """SEV_FEATURES that another platform of a file has are no change there, but others are."""
    es = BSP._replace(compatibility_mask=2, data=build_vmsa({**parse_vmsa(VMSA), "sev_features": 0x20}))
    path = write_file(tmp_path, SNP, SupportedPlatform(2, 0, PlatformType.SEV_ES), BSP, es)
    setup = FileLaunch(ForeignFile(str(path)), "qemu", "snp", 1)
    known = {(one.axis, one.value): one for one in changes_for(Start("", setup, b""), profiles())}
    values = ("0x20", "0x0", "0x5")
    features = [known["guest-features", value]._replace(weight=at) for at, value in enumerate(values)]
    changes = [known["mode", "sev-es"], *features]
    space = Variations(0, Start("", setup, b""), [1], lambda _: changes, Kept(9))
    space.open()
    wanted = digest(space.setup((0, 3)))
    result = Tries(wanted).run(space, Tile(0, (0,), NONE, (1, 4), 0), FOREVER)
    assert result.hits == (Hit(0, (0, 3), 1),)


def test_a_tail_of_other_pages_has_no_patch() -> None:
    one = Tail(0x1000, (bytes(4096),), bytes(4096))
    assert patch_between(one, one._replace(further=None)) is None
    assert patch_between(one, one._replace(gpa=0)) is None
    assert patch_between(one, one._replace(pages=())) is None
    same = patch_between(one, one)
    assert same is not None
    assert patched(one, same) == one


def _changed(axis: str, touches: str, **shape: Any) -> Change:
    def apply(setup: object) -> object:
        return setup._replace(shape=setup.shape._replace(**shape))  # type: ignore[attr-defined]

    return Change(axis, str(shape), touches, apply, "says", "source", 1)  # type: ignore[arg-type]


def test_what_was_tried_with_one_change_less_is_not_tried_again() -> None:
    """A change of both sides that does nothing to this launch makes no new ones of it."""
    start = own_start()
    changes = [
        _changed("profile", "both", policy=0x70000),
        _changed("cpu", "tail", signature=5),
        _changed("guest-features", "tail", guest_features=0x21),
    ]
    space = Variations(0, start, [1], lambda _: changes, Kept(9))
    space.open()
    tries = Tries(bytes(48))
    assert tries.run(space, Tile(0, (0,), NONE, (1, 3), 0), FOREVER).tried == 0
    assert tries.run(space, Tile(0, (), NONE, (1, 3), 0), FOREVER).tried == 2


def test_a_tile_of_no_time_is_not_completed() -> None:
    space = Variations(0, own_start(), [1], lambda _: (), Kept(9))
    assert Tries(bytes(48)).run(space, Tile(0, (), NONE, NONE, 512), 0.0) == (0, (), False)
    assert Tries(bytes(48)).run(space, Tile(0, (), NONE, NONE, 512), FOREVER) == (512, (), True)
    assert Tries(bytes(32)).run(space, Tile(0, (), NONE, NONE, 512), FOREVER) == (0, (), True)


def test_counts_that_launch_the_same_are_the_start_s() -> None:
    """Where only the first vCPU is measured, how many there are is no change that could be seen."""
    start = own_start(vcpus=5)
    launch = start.setup.shape.launch._replace(measured_vcpus="bsp")  # type: ignore[attr-defined]
    setup = start.setup._replace(shape=start.setup.shape._replace(launch=launch))  # type: ignore[attr-defined]
    space = Variations(0, start._replace(setup=setup), [5], lambda _: (), Kept(9))
    result = Tries(digest(setup)).run(space, Tile(0, (), NONE, NONE, 512), FOREVER)
    assert result.hits == (Hit(0, (), 5),)


def _with(axis: str, firmware: Firmware | None = None, *, off: bool = False, **digests: bytes) -> Change:
    def apply(setup: Setup) -> Setup:
        inputs = laid_out(setup).inputs
        hashes = None if off or inputs.kernel_hashes is None else inputs.kernel_hashes._replace(**digests)
        inputs = inputs._replace(kernel_hashes=hashes, firmware=firmware or inputs.firmware)
        return laid_out(setup)._replace(inputs=inputs)

    return Change(axis, "other", "body", apply, "says", "source", 1)


class _Piecewise:
    """Bytes that are not held in memory."""

    def __len__(self) -> int:
        return 4096

    def read(self, start: int, end: int) -> bytes:
        return bytes(4096)[start:end]


def _refused(_: object) -> Setup:
    raise SevbuildError("no host launches this")


@pytest.mark.parametrize("order", [1, -1])
def test_a_change_of_hashes_that_does_more_is_laid_out(order: int) -> None:
    """Only what turns over bits of the kernel hashes alone is patched in."""
    start = own_start()
    other = FIRMWARES["other"]
    sections = (other.metadata.sections or ())[:3]
    short = other._replace(metadata=other.metadata._replace(sections=sections))
    changes = [
        _with("cmdline", cmdline=b"1" * 32),
        _with("cmdline", other, cmdline=b"2" * 32),
        _with("cmdline", short, off=True),
        _with("cmdline", other),
        _with("cmdline", off=True),
        _with("kernel", kernel=b"3" * 32),
        _with("initrd", other),
        _with("initrd", kernel=b"4" * 32),
        _with("kernel-hashes", off=True),
    ]
    space = Variations(0, start, [1], lambda _: changes[::order], Kept(9))
    space.open()
    tries, seen = Tries(bytes(48)), 0
    for size in (1, 2):
        for made in combinations(range(len(changes)), size):
            if len({space.changes[index].axis for index in made}) == size:
                body = space.setup(made).body(Planner())
                assert tries._states.state(space, made) == BodyChains().state(body), (made, order)
                seen += 1
    assert seen == 9 + 25


def test_hashes_that_are_not_in_memory_are_laid_out() -> None:
    own = Body("snp", None, (LaunchUpdate(0x1000, PageType.NORMAL, 4096, bytes(4096), "here"),))
    other = own._replace(regions=(own.regions[0]._replace(data=_Piecewise()),))
    assert bodies._compared(bodies._Patches(own, [], {}), other) is None
    assert bodies._compared(bodies._Patches(own, [], {}), own._replace(regions=())) is None
    assert bodies._compared(bodies._Patches(own, [], {}), own) is None


def test_what_is_refused_is_left_out() -> None:
    start = own_start()
    changes = [
        Change("firmware", "no", "both", _refused_with(start), "says", "source", 1),
        Change("cmdline", "no", "body", _refused_with(start), "says", "source", 1),
        _changed("cpu", "tail", signature=5),
    ]
    space = Variations(0, start, [1], lambda _: changes, Kept(9))
    space.open()
    tries = Tries(bytes(48))
    assert len(space.changes) == 3
    assert tries.run(space, Tile(0, (0,), NONE, (2, 3), 0), FOREVER) == (0, (), True)
    assert tries.run(space, Tile(0, (), (1, 2), (2, 3), 0), FOREVER) == (0, (), True)


def _refused_with(start: Start) -> Callable[[Setup], Setup]:
    """Return a change that is made once, to be told from one without effect, and refused afterwards."""
    calls = iter([laid_out(start.setup)._replace(shape=laid_out(start.setup).shape._replace(policy=1))])

    def apply(setup: Setup) -> Setup:
        return next(calls, None) or _refused(setup)

    return apply


def test_a_tail_of_more_pages_is_laid_out() -> None:
    """Where a CPU has the first vCPUs measured alone, no patch says what it does."""
    start = own_start(vcpus=2)
    changes = [
        _changed("cpu", "tail", signature=5, launch=_bsp_alone(start)),
        _changed("guest-features", "tail", guest_features=0x21),
    ]
    space = Variations(0, start, [2], lambda _: changes, Kept(9))
    space.open()
    for made in ((0,), (1,), (0, 1)):
        setup = space.setup(made)
        assert Tries(bytes(48))._tail(space, made) == ("snp", setup.tail(Planner()))


def _bsp_alone(start: Start) -> Any:
    """Return values by which nothing but one vCPU can be started."""
    launch = laid_out(start.setup).shape.launch
    return launch._replace(entry={**launch.entry, "ap": "svsm"})


def test_bodies_are_laid_out_while_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body can be a file of half a gigabyte: no tile goes on with others after its time."""
    changes = [_with("cmdline", cmdline=bytes((number,)) * 32) for number in range(9)]
    space = Variations(0, own_start(), [1], lambda _: changes, Kept(9))
    space.open()
    clock = count()
    monkeypatch.setattr(tries_module, "monotonic", lambda: next(clock))
    one = Tries(bytes(48))
    assert one.run(space, Tile(0, (), (0, 9), NONE, 0), 4) == (0, (), False)
    assert next(clock) < 9
    assert one.run(space, Tile(0, (), (0, 9), NONE, 0), FOREVER) == (9, (), True)
