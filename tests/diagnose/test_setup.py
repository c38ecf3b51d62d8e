"""A setup gives the body, the VMSAs and the plan that its target has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sevbuild.diagnose.departures import NOTHING
from sevbuild.errors import SevbuildError
from sevbuild.launch.planner import Planner
from sevbuild.measure.tree import LaunchTree
from tests.support.firmware import SECTIONS, standard_firmware
from tests.support.guests import guest_of
from tests.support.shared import ROOT
from tests.support.starts import setup_of


@pytest.mark.parametrize("mode", ["sev", "sev-es", "snp"])
def test_a_setup_is_the_launch_of_its_target(mode: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "guests" / "hello" / "hello.fd", tmp_path)
    guest = guest_of(tmp_path, launch={"mode": mode}, firmware={"path": "hello.fd"})
    (target,) = guest.targets
    (measured,) = guest.measure([target])
    setup, planner = setup_of(guest), Planner()
    assert setup.mode == mode
    assert LaunchTree().digest(setup.plan(planner)) == measured.digest
    body, tail = setup.body(planner), setup.tail(planner)
    wanted = setup.with_vcpus(3).plan(planner)
    assert body.regions == wanted.regions
    assert body.seed is None
    assert not setup.counted_in_body
    pages = [update.data for update in wanted.vmsas]
    if mode == "sev":
        assert (tail.pages, tail.further) == ((), None)
    else:
        assert pages == [*tail.pages, tail.further, tail.further]
        assert tail.gpa == wanted.vmsas[0].gpa


def test_vmsas_are_those_of_a_firmware_that_takes_no_kernel_hashes(tmp_path: Path) -> None:
    """Another firmware and kernel hashes off are two changes, of which the first alone is no launch."""
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware(sections=SECTIONS[:3], hash_table=None))
    guest = guest_of(tmp_path, firmware={"path": "OVMF.fd"})
    setup, planner = setup_of(guest), Planner()
    hashed = setup._replace(inputs=setup.inputs._replace(kernel_hashes=NOTHING))
    with pytest.raises(SevbuildError, match=r"kernel.hashes"):
        hashed.body(planner)
    assert hashed.tail(planner) == setup.tail(planner)
