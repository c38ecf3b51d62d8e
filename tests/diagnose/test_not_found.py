"""What is said to be excluded is what was tried, and what to get next is what would settle it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sevbuild.diagnose.change import Change, Material, Start
from sevbuild.diagnose.file_launch import FileLaunch
from sevbuild.diagnose.not_found import Searched, excluded, next_steps, not_covered
from sevbuild.diagnose.starts import subject_of_guest
from sevbuild.diagnose.statistics import SearchStatistics, StageStatistics
from sevbuild.guest.foreign import ForeignFile
from sevbuild.guest.guest import load_guest
from sevbuild.igvm.headers import PageData
from sevbuild.launch.planner import Planner
from tests.cli.test_explain import guest_in
from tests.support.igvm import BSP, SNP, write_file


def stage(changes: int, *, vcpus: int = 512, every: bool = True, left: str = "") -> StageStatistics:
    return StageStatistics(f"{changes} changes", changes, vcpus, every, 10, 0.1, 1, left)


def searched(starts: Any, axes: str = "", *stages: StageStatistics, suspects: bool = False) -> Searched:
    changes = [Change(axis, "", "tail", lambda setup: setup, "", "", 0) for axis in axes.split()]
    statistics = SearchStatistics(1, 0, len(changes), 0, 0, stages, 0.1)
    return Searched(starts, changes, suspects, statistics, ("my guest.toml", "00ff"))


def kernel_starts(folder: Path) -> tuple[Start, ...]:
    return subject_of_guest(load_guest(str(guest_in(folder))), []).starts


def test_what_was_tried_is_excluded(tmp_path: Path) -> None:
    starts = kernel_starts(tmp_path)
    end = "that is known gives this digest by itself with this firmware and kernel: firmware or kernel hashes differ"
    assert excluded(searched(starts, "cpu profile guest-features", stage(1))) == (
        f"no vCPU count from 1 to 512 and no other profile, CPU or SEV_FEATURES {end}",
    )
    assert excluded(searched(starts, "cpu", stage(1, vcpus=1))) == (f"no other CPU {end}",)
    assert excluded(searched(starts, "", stage(1))) == (f"no vCPU count from 1 to 512 {end}",)
    named = excluded(searched(starts, "firmware", stage(1), suspects=True))
    assert "with this firmware or a candidate and kernel" in named[0]


def test_several_changes_are_excluded_where_all_were_combined(tmp_path: Path) -> None:
    starts = kernel_starts(tmp_path)
    two = excluded(searched(starts, "cpu", stage(1), stage(2)))
    assert two[1:] == ("nor do any two of these together",)
    some = excluded(searched(starts, "cpu", stage(1), stage(2, every=False)))
    assert some[1:] == ()
    cut = excluded(searched(starts, "cpu", stage(1), stage(2, left="cut off")))
    assert cut[1:] == ()
    assert excluded(searched(starts, "cpu", stage(1, left="cut off"))) == ()
    assert excluded(searched(starts, "cpu")) == ()


def test_of_a_file_nothing_else_is_known(tmp_path: Path) -> None:
    file = ForeignFile(str(write_file(tmp_path, SNP, PageData(0x20000, 1, b"\xaa" * 4096), BSP)))
    (in_place,) = [Start("x", FileLaunch(file, "igvmmeasure", "snp", 1), b"")]
    assert excluded(searched([in_place], "", stage(1))) == (
        "nothing is known to differ in launches with this IGVM file: the IGVM file differs",
    )
    (last,) = [Start("x", FileLaunch(file, "qemu", "snp", 1, 0x800F12), b"")]
    (line,) = excluded(searched([last], "", stage(1)))
    assert line.startswith("no vCPU count from 1 to 512 that is known gives this digest by itself with")
    assert line.endswith("with this IGVM file: the IGVM file differs")
    assert not_covered(searched([last], "", stage(1))) == ()


def test_no_counts_are_excluded_of_a_file_whose_further_vcpus_cannot_start(tmp_path: Path) -> None:
    """Without a CPU, none but the described ones do: the search has one launch for all numbers."""
    file = ForeignFile(str(write_file(tmp_path, SNP, PageData(0x20000, 1, b"\xaa" * 4096), BSP)))
    unknown = FileLaunch(file, "qemu", "snp", 1)
    assert [line[:29] for line in excluded(searched([Start("x", unknown, b"")], "loader", stage(1)))] == [
        "no other loader that is known"
    ]
    for setup in (unknown, unknown._replace(loader="cloud-hypervisor-kvm", signature=0x800F12)):
        assert setup.takes_more_vcpus == (setup.tail(Planner()).further is not None)
        assert not setup.takes_more_vcpus


def test_what_was_not_covered(tmp_path: Path) -> None:
    starts = [
        start._replace(material=Material(cmdline=b"quiet nr_cpus=4")) for start in kernel_starts(tmp_path)
    ]
    lines = not_covered(searched(starts, "cpu", stage(1), stage(2, left="cut off")))
    assert lines[0] == "2 changes: cut off"
    assert lines[1].startswith("no other firmware was tried")
    assert "random" in lines[2]
    assert lines[-1].startswith("nr_cpus of the command line")
    assert not_covered(searched(starts, "cpu"))[0].startswith("one change: nothing was tried")
    assert not any("no other firmware" in line for line in not_covered(searched(starts, suspects=True)))


def test_commands_can_be_run_as_they_stand(tmp_path: Path) -> None:
    lines = next_steps(searched(kernel_starts(tmp_path), "cpu", stage(1), stage(2, left="cut off")))
    assert any("`sevbuild explain 'my guest.toml' 00ff --vmsa-dump dmesg.txt`" in line for line in lines)
    assert any("`sevbuild replay trace.txt 'my guest.toml'`" in line for line in lines)
    assert lines[-1] == "more time: `--budget SECONDS`"
    done = next_steps(searched(kernel_starts(tmp_path), "cpu", stage(1), suspects=True))
    assert not any("--budget" in line or "--firmware" in line for line in done)
    sev = guest_in(tmp_path, launch={"mode": "sev", "policy": 1})
    plain = next_steps(searched(subject_of_guest(load_guest(str(sev)), []).starts))
    assert not any("--vmsa-dump" in line for line in plain)


def test_a_document_has_no_contents_to_hold_a_trace_to(tmp_path: Path) -> None:
    undeclared = [start._replace(where=None) for start in kernel_starts(tmp_path)]
    lines = next_steps(searched(undeclared, "cpu", stage(1)))
    assert any(line.endswith("`sevbuild replay trace.txt`") for line in lines)
