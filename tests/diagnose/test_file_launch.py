"""A launch of an IGVM file as a setup: its body and VMSAs are those of the loader's plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.errors import SevbuildError
from sevbuild.guest.foreign import ForeignFile, ForeignLaunch
from sevbuild.igvm.headers import PageData
from sevbuild.launch.planner import Planner
from sevbuild.measure.tree import LaunchTree
from tests.support.igvm import BSP, SNP, write_file

PAGE = PageData(0x20000, 1, b"\xaa" * 4096)


@pytest.mark.parametrize(("loader", "follow"), [("qemu", 1), ("igvmmeasure", 0)])
def test_body_and_vmsas_are_those_of_the_plan(loader: str, follow: int, tmp_path: Path) -> None:
    file = ForeignFile(str(write_file(tmp_path, SNP, PAGE, BSP)))
    setup = FileLaunch(file, loader, "snp", 3, 0x00A00F11)
    planner = Planner()
    plan = setup.plan(planner)
    body, tail = setup.body(planner), setup.tail(planner)
    assert (body.mode, body.seed, body.regions) == ("snp", None, plan.regions)
    assert setup.described == 1
    assert not setup.counted_in_body
    pages = [update.data for update in plan.vmsas]
    if follow:
        assert pages == [*tail.pages, tail.further, tail.further]
        assert tail.gpa == plan.vmsas[0].gpa
    else:
        assert pages == [] == [*tail.pages]
        assert tail.further is None
    (measured,) = file.launches(ForeignLaunch((loader,)))
    assert LaunchTree().digest(setup.with_vcpus(1).plan(planner)) == measured.digest


def test_without_a_cpu_no_more_vcpus_start(tmp_path: Path) -> None:
    file = ForeignFile(str(write_file(tmp_path, SNP, PAGE, BSP)))
    setup = FileLaunch(file, "qemu", "snp", 1)
    assert setup.tail(Planner()).further is None
    with pytest.raises(SevbuildError, match="vCPU 1"):
        setup.with_vcpus(2).plan(Planner())


def test_registers_of_the_first_vcpu_alone_depart_where_none_is_described(tmp_path: Path) -> None:
    file = ForeignFile(str(write_file(tmp_path, SNP, PAGE)))
    setup, planner = FileLaunch(file, "qemu", "snp", 3, 0x00A00F11), Planner()
    tail = setup.tail(planner)
    assert tail.pages == ()
    assert [update.data for update in setup.plan(planner).vmsas] == [tail.further] * 3
    departing = setup._replace(departures=(("registers.bsp.rsp", 0x8FF0),))
    other = departing.tail(planner)
    assert [update.data for update in departing.plan(planner).vmsas] == [*other.pages, *[other.further] * 2]
    assert other.further == tail.further
