"""Why a measurement is not the expected one: the mistakes that people make, each tried in turn.

An HMAC matches by no accident, so that a variation under which it does is the cause.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice, product
from typing import Any, NamedTuple

from sevbuild.identity.launch_measure import NONCE_SIZE, MeasuredLaunch
from sevbuild.identity.sev_session import TransportKeys
from sevbuild.launch.policy import SEV_POLICY_BITS

__all__ = ["ZERO_TIK", "Claim", "mistakes"]

ZERO_TIK = bytes(16)
"""The key of a launch without a session: anybody can measure under it."""

_MOST_AT_ONCE = 3
_MOST_TRIED = 200_000
_MINORS, _BUILDS = range(128), range(256)
"""The API minors and builds that are tried: no firmware is known to be near 1.128."""


class Claim(NamedTuple):
    """What was held to a measurement: the host's answer, the keys, and the published digests by label.

    `keys.tek` is empty where it is not known. `launch` is over the first of the digests.
    """

    measure: bytes
    nonce: bytes
    keys: TransportKeys
    launch: MeasuredLaunch
    digests: Mapping[str, bytes]


class _Attempt(NamedTuple):
    """One variation of a claim; `answer` is measurement and nonce, `firmware` its API and build."""

    tik: bytes
    firmware: tuple[int, int, int]
    policy: int
    digest: bytes
    answer: tuple[bytes, bytes]

    @property
    def holds(self) -> bool:
        """Tell whether this is what was measured."""
        measure, nonce = self.answer
        return MeasuredLaunch(*self.firmware, self.policy, self.digest).has(measure, self.tik, nonce)


class _Change(NamedTuple):
    """One field of an attempt, what it would have to be, and that in words."""

    field: str
    text: str
    value: Any


def mistakes(claim: Claim) -> list[str]:
    """Return the fewest changes of what was given under which the measurement matches, in words.

    Empty where none do: then the digest, the session or the host is another.
    """
    launch = claim.launch
    if claim.measure in claim.digests.values():
        return ["what was given as the measurement is the launch digest itself, which proves nothing"]
    given = _Attempt(
        claim.keys.tik, launch.firmware, launch.policy, launch.digest, (claim.measure, claim.nonce)
    )
    fields = _fields(claim)
    for count in range(1, _MOST_AT_ONCE + 1):
        for changes in islice(_choices(fields, count), _MOST_TRIED):
            if given._replace(**{change.field: change.value for change in changes}).holds:
                return [change.text for change in changes]
    for tik in (None, *fields[0]):
        known = given if tik is None else given._replace(tik=tik.value)
        for firmware in product((launch.api_major, 1 - (launch.api_major & 1)), _MINORS, _BUILDS):
            if known._replace(firmware=firmware).holds:
                found = f"the platform's firmware is {_firmware(firmware)}, not {_firmware(given.firmware)}"
                return [found, *([tik.text] if tik else [])]
    return []


def _choices(fields: Sequence[Sequence[_Change]], count: int) -> Iterator[tuple[_Change, ...]]:
    """Yield every choice of so many changes, each of another field."""
    for chosen in combinations(fields, count):
        yield from product(*chosen)


def _fields(claim: Claim) -> tuple[list[_Change], ...]:
    """Return the changes of each field, those of the TIK first."""
    keys, digest = claim.keys, claim.launch.digest
    both = claim.measure + claim.nonce
    tiks = [
        ("it was made under a TIK of zeros: the guest was launched without a session", ZERO_TIK),
        ("the TIK's bytes are in reverse order", keys.tik[::-1]),
    ]
    if keys.tek:
        tiks.append(("the key given as TIK is the TEK: the two are swapped", keys.tek))
    answers = [
        ("the nonce's bytes are in reverse order", (claim.measure, claim.nonce[::-1])),
        ("the measurement's bytes are in reverse order", (claim.measure[::-1], claim.nonce)),
        ("the nonce stands before the measurement", (both[NONCE_SIZE:], both[:NONCE_SIZE])),
    ]
    digests = [(f"it is of {name}", other) for name, other in claim.digests.items() if other != digest]
    digests.append(("the launch digest's bytes are in reverse order", digest[::-1]))
    return (
        [_Change("tik", *change) for change in tiks],
        [_Change("firmware", *change) for change in _firmwares(claim.launch)],
        [_Change("policy", *change) for change in _policies(claim.launch.policy)],
        [_Change("digest", *change) for change in digests],
        [_Change("answer", *change) for change in answers],
    )


def _firmware(firmware: tuple[int, int, int]) -> str:
    major, minor, build = firmware
    return f"API {major}.{minor} build {build}"


def _firmwares(launch: MeasuredLaunch) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Yield what the numbers of the firmware may have been meant as."""
    names = ("API major", "API minor", "build")
    readings = [list(_read_otherwise(number, 0xFF)) for number in launch.firmware]
    for count in range(1, 4):
        for places in combinations(range(3), count):
            for chosen in product(*(readings[place] for place in places)):
                numbers = list(launch.firmware)
                said = []
                for place, (number, why) in zip(places, chosen, strict=True):
                    numbers[place] = number
                    said.append(f"the {names[place]} is {number}, not {launch.firmware[place]}: {why}")
                yield "; ".join(said), (numbers[0], numbers[1], numbers[2])
    yield "API major and minor are swapped", (launch.api_minor, launch.api_major, launch.build_id)
    yield "API minor and build are swapped", (launch.api_major, launch.build_id, launch.api_minor)


def _policies(policy: int) -> Iterator[tuple[str, int]]:
    """Yield what the policy may have been, or may have been meant as."""
    for number, why in _read_otherwise(policy, 0xFFFFFFFF):
        yield f"the policy is {number:#x}, not {policy:#x}: {why}", number
    reverse = int.from_bytes(policy.to_bytes(4, "little"), "big")
    if reverse != policy:
        yield f"the policy's bytes are in reverse order: it is {reverse:#x}", reverse
    for bits in range(1 << len(SEV_POLICY_BITS)):
        for upper in dict.fromkeys((policy >> 16 << 16, 0)):
            if upper | bits != policy:
                yield f"the guest's policy is {upper | bits:#x}, not {policy:#x}", upper | bits


def _read_otherwise(number: int, most: int) -> Iterator[tuple[int, str]]:
    """Yield a number read in the other notation, and what would have happened to it."""
    other = int(str(number), 16)
    if other != number and other <= most:
        yield other, "its hexadecimal digits were taken for decimal"
    digits = f"{number:x}"
    if digits.isdecimal() and int(digits) != number:
        yield int(digits), "its decimal digits were taken for hexadecimal"
