"""Records that are told apart by identity."""

from __future__ import annotations

from typing import NamedTuple

from sevbuild.by_identity import by_identity
from sevbuild.image.ovmf import Firmware
from sevbuild.launch.profile import LaunchProfile
from sevbuild.manifest.model import Variant


@by_identity
class _Pair(NamedTuple):
    """A pair with a field that is no key."""

    first: int
    second: dict[str, int]


def test_equal_fields_do_not_make_the_same_record() -> None:
    one, other = _Pair(1, {}), _Pair(1, {})
    copy = one._replace()
    same = one
    assert one == same
    assert not one != same  # noqa: SIM202 - the other operator
    assert one != other
    assert not one == other  # noqa: SIM201 - the other operator
    assert one != copy
    assert one._asdict() == other._asdict()


def test_a_record_is_a_key_whatever_its_fields_are() -> None:
    one, other = _Pair(1, {"a": 1}), _Pair(1, {"a": 1})
    assert list(dict.fromkeys([one, other, one])) == [one, other]
    assert {one: "one", other: "other"}[other] == "other"
    one.second["b"] = 2
    assert {one: 1}[one] == 1


def test_what_is_read_once_is_told_apart_so() -> None:
    assert {record.__hash__ for record in (Firmware, LaunchProfile, Variant)} == {object.__hash__}
