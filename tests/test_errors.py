"""Errors say where they came through, and stay what they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from sevbuild.errors import Fault, FaultsError, MismatchError, SevbuildError, within
from sevbuild.guest.inputs import Extent, InputReader
from sevbuild.launch.status import LaunchError, Status
from sevbuild.manifest.inputs import PathSource


def test_a_place_is_added_and_all_else_stays() -> None:
    refused = LaunchError("SNP_LAUNCH_UPDATE", Status.INVALID_LEN, "0 bytes", hint="none")
    for error in (refused, MismatchError("differs", hint="put it back", details=["one", "two"])):
        with pytest.raises(type(error)) as caught, within("outer"), within("inner"):
            raise error
        found = caught.value
        assert found is not error
        assert found.message == f"outer: inner: {error.message}"
        assert str(found).startswith(found.message)
        assert (found.hint, found.details, found.exit_code) == (error.hint, error.details, error.exit_code)
        assert error.message.startswith(("SNP_LAUNCH_UPDATE", "differs"))
    with pytest.raises(LaunchError) as refusal, within("target"):
        raise refused
    assert (refusal.value.status, refusal.value.command) == (Status.INVALID_LEN, "SNP_LAUNCH_UPDATE")


def test_faults_say_their_own_place() -> None:
    faults = FaultsError([Fault("guest.toml", 3, "vcpu.count", "is wrong")])
    with pytest.raises(FaultsError) as caught, within("snp/qemu/EPYC/vcpus1"):
        raise faults
    assert str(caught.value) == "guest.toml:3: vcpu.count: is wrong"


def test_a_hint_is_for_an_error_that_has_none() -> None:
    for own in (None, "of its own"):
        with pytest.raises(MismatchError) as caught, within("place", hint="of the place"):
            raise MismatchError("differs", hint=own, details=["one"])
        assert (caught.value.hint, caught.value.details) == (own or "of the place", ("one",))
    faults = FaultsError([Fault("a.toml", 1, "x", "is wrong"), Fault("a.toml", 2, "y", "is wrong")])
    with pytest.raises(FaultsError) as several, within("place", hint="of the place"):
        raise faults
    assert [fault.hint for fault in several.value.faults] == [None, "of the place"]
    assert str(several.value) == str(faults)


def test_an_error_is_reworded_in_all_it_says() -> None:
    refused = LaunchError("SNP_LAUNCH_START", Status.INVALID_LEN, "a", hint="b").reworded(str.upper)
    assert refused.message == str(refused) == "SNP_LAUNCH_START: INVALID_LEN (FW_ERROR=4): A"
    assert (refused.hint, refused.status) == ("B", Status.INVALID_LEN)
    assert MismatchError("a", details=["b"]).reworded(str.upper).args == ("A\n  B",)
    fault = Fault("a.toml", 1, "x", "is wrong", "none")
    assert FaultsError([fault, fault._replace(hint=None, line=2)]).reworded(str.upper).faults == (
        fault._replace(message="IS WRONG", hint="NONE"),
        fault._replace(message="IS WRONG", hint=None, line=2),
    )


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="bug"), within("target"):
        raise ValueError("bug")


def test_an_error_that_is_kept_is_said_alike_each_time(tmp_path: Path) -> None:
    reader = InputReader(str(tmp_path))
    said = []
    for _ in range(2):
        with pytest.raises(SevbuildError) as caught, within("target"):
            reader.hashed(Extent((PathSource("absent"),)))
        said.append(caught.value.message)
    assert said[0] == said[1]
    assert said[0].count("target") == 1
