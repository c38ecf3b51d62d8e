"""What has changed since a lock was written is said in few words, and where it differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sevbuild.errors import MismatchError
from sevbuild.guest.lock_changes import lock_changes
from sevbuild.guest.locking import LockCheck, resolve_lock
from sevbuild.manifest.lock import Lock, encode_lock
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of

EMPTY = Lock("1", (), {}, {}, {})


def _changes(locked: dict[str, bytes], found: dict[str, bytes], *, whole: bool = True) -> list[str]:
    return lock_changes(EMPTY._replace(cmdlines=locked), EMPTY._replace(cmdlines=found), whole=whole)


def test_one_change_of_many_command_lines_is_said_once() -> None:
    one, two, three = ({f"t{n}": line for n in range(3)} for line in (b"a", b"b", b""))
    said = "command line of t0 and 2 more"
    assert _changes(one, two) == [f"{said} is 'b'; the lock has 'a'"]
    assert _changes(one, {}) == [f"{said} is no longer used"]
    assert _changes({}, three) == [f"{said} is not in it"]
    assert _changes({"t0": b"a", "t1": b"a"}, {"t0": b"b", "t1": b"b"}) == [
        "command line of t0 and 1 more is 'b'; the lock has 'a'"
    ]
    assert _changes({"t0": b"a"}, {"t0": b"b"}) == ["command line of t0 is 'b'; the lock has 'a'"]


def test_what_a_lock_has_beyond_some_targets_is_no_change() -> None:
    assert _changes({"t0": b"a", "t1": b"a"}, {"t1": b"a"}, whole=False) == []


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        # 120 bytes are shown whole, wherever they differ.
        ("x" * 119 + "a", "x" * 119 + "b", ("'" + "x" * 119 + "b'", "'" + "x" * 119 + "a'")),
        # A longer line is shown from 30 bytes before the first difference.
        (
            "x" * 99 + "a" + "y" * 99,
            "x" * 99 + "b" + "y" * 99,
            ("...'" + "x" * 30 + "b" + "y" * 89 + "'...", "...'" + "x" * 30 + "a" + "y" * 89 + "'..."),
        ),
        (
            "a" + "x" * 199,
            "b" + "x" * 199,
            ("'b" + "x" * 119 + "'...", "'a" + "x" * 119 + "'..."),
        ),
        ("x" * 121, "x" * 121 + "b", ("...'" + "x" * 30 + "b'", "...'" + "x" * 30 + "'")),
    ],
)
def test_of_a_long_line_the_first_difference_is_shown(
    before: str, after: str, shown: tuple[str, str]
) -> None:
    (change,) = _changes({"t": before.encode()}, {"t": after.encode()})
    assert change == f"command line of t is {shown[0]}; the lock has {shown[1]}"


def test_of_many_changes_twenty_are_told(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "kernel").write_bytes(b"kernel")

    def details(count: int) -> tuple[str, ...]:
        tables = {
            "firmware": {"path": "OVMF.fd"},
            "kernel": {"path": "kernel", "cmdline": "{vcpus} {x}"},
            "vcpu": {"count": f"1-{count}"},
        }
        written = guest_of(tmp_path, **tables, variables={"x": "a"})
        written.measure()
        (tmp_path / "guest.lock").write_text(encode_lock(resolve_lock(written, written.targets)))
        changed = guest_of(tmp_path, **tables, variables={"x": "b"})
        with pytest.raises(MismatchError, match=f"is stale, {count} changes:") as caught:
            LockCheck(str(tmp_path / "guest.toml"))(changed, changed.targets)
        return caught.value.details

    lines = [
        f"command line of snp/qemu/EPYC-v4/vcpus{n} is '{n} b'; the lock has '{n} a'" for n in range(1, 21)
    ]
    assert details(20) == tuple(lines)
    assert details(22) == (*lines, "and 2 more")
