"""The VMSAs of a kernel log are read as KVM prints them, and held to a plan field by field."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.diagnose.vmsa_dump import compare_dump, dump_document, dump_lines, read_dump
from sevbuild.errors import SevbuildError
from sevbuild.launch.plan import LaunchPlan
from sevbuild.vcpu.save_area import FIELDS, VMSA_SIZE
from tests.support.guests import guest_of
from tests.support.kernel_log import HEADING, vmsa_log, vmsa_rows
from tests.support.shared import ROOT

PAGE = bytes(range(256)) * 16
WHERE = {field.name: field.offset for field in FIELDS}


def plan_of(folder: Path, mode: str = "snp", vcpus: int = 2) -> LaunchPlan:
    shutil.copy(ROOT / "guests" / "hello" / "hello.fd", folder)
    guest = guest_of(
        folder,
        launch={"mode": mode},
        firmware={"path": "hello.fd"},
        vcpu={"count": vcpus, "model": "EPYC-v4"},
    )
    return guest.plan(guest.targets[0])


def pages_of(plan: LaunchPlan) -> list[bytes]:
    return [update.data for update in plan.vmsas if isinstance(update.data, bytes)]


def changed(page: bytes, name: str, value: bytes) -> bytes:
    at = WHERE[name]
    return page[:at] + value + page[at + len(value) :]


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[  123.456789] ",
        "[  123.456789] kvm_amd: ",
        "<7>[  123.456789] SVM: ",
        "[  123.456789][ T4321] kvm_amd: ",
        "[Wed Nov 25 14:13:57 2026] ",
        "Nov 25 14:13:57 host kernel: ",
        "Nov 25 14:13:57 host kernel: [  123.456789] kvm_amd: ",
        "2026-11-25T14:13:57+0000 host kernel: ",
        "2026-11-25T14:13:57,123456+00:00 ",
        "kern  :debug : [  123.456789] ",
    ],
)
def test_a_dump_is_read_whatever_stands_before_its_rows(prefix: str) -> None:
    log = f"{prefix}kvm_amd: SEV supported: 410 ASIDs\n{vmsa_log([PAGE, PAGE[1:] + PAGE[:1]], prefix=prefix)}"
    first, second = read_dump(log + f"{prefix}kvm: done\n", "dmesg.txt")
    assert (first.line, first.data) == (2, PAGE[:1648])
    assert (second.line, second.data) == (106, (PAGE[1:] + PAGE[:1])[:1648])


def test_the_rows_may_lack_what_stands_before_the_heading() -> None:
    log = vmsa_log([PAGE], prefix="[    1.5] kvm_amd: ", row_prefix="[    1.5] ").replace("\n", "\r\n")
    assert [dump.data for dump in read_dump(log, "dmesg.txt")] == [PAGE[:1648]]


def test_the_shorter_form_of_older_kernels_ends_in_half_a_row() -> None:
    log = vmsa_log([PAGE, PAGE], size=1032)
    assert [dump.data for dump in read_dump(log, "dmesg.txt")] == [PAGE[:1032]] * 2


def rows(*, keep: slice = slice(None), extra: str = "") -> str:
    return "\n".join([HEADING, *vmsa_rows(PAGE)[keep], *([extra] if extra else [])]) + "\n"


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("kvm_amd: SEV enabled\n", "dmesg.txt: no VMSA that KVM printed is in it"),
        (f"{HEADING}\n", "dmesg.txt:1: 0 rows with 0 bytes"),
        (rows(keep=slice(0, 102)), "dmesg.txt:1: 102 rows with 1632 bytes"),
        (rows(extra=vmsa_rows(PAGE)[0]), "dmesg.txt:1: 104 rows with 1664 bytes"),
        (rows(keep=slice(0, 64)), "dmesg.txt:1: 64 rows with 1024 bytes"),
        (rows(keep=slice(0, 64), extra="00 01 02 03"), "dmesg.txt:1: 65 rows with 1028 bytes"),
        (vmsa_log([PAGE], 1032) + vmsa_rows(PAGE)[0], "dmesg.txt:1: 66 rows with 1048 bytes"),
        (
            "\n".join([HEADING, *vmsa_rows(PAGE)[:5], "[1.0] usb 1-1: new device", *vmsa_rows(PAGE)[5:]]),
            "dmesg.txt:7: a line between the rows of the VMSA that begins in line 1",
        ),
        # Two rows of another VMSA in between: the sum is right, the rows are not.
        (
            "\n".join([HEADING, "00 11", *vmsa_rows(PAGE)[1:], "00 " * 13 + "00"]),
            "dmesg.txt:1: 104 rows with",
        ),
        (vmsa_log([PAGE]) + vmsa_log([PAGE], 1032), "dmesg.txt:105: 1032 bytes, and 1648 in the dump before"),
    ],
)
def test_what_is_no_whole_dump_is_refused(log: str, message: str) -> None:
    with pytest.raises(SevbuildError, match=message.replace(".", r"\.").replace("(", r"\(")) as refused:
        read_dump(log, "dmesg.txt")
    assert refused.value.exit_code == 2
    assert refused.value.hint


@pytest.mark.parametrize("mode", ["snp", "sev-es"])
def test_the_dump_of_the_planned_launch_is_equal(mode: str, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, mode)
    found = compare_dump(vmsa_log(pages_of(plan)), plan, "dmesg.txt")
    assert found.equal
    assert (found.vcpus, found.dumps, found.compared, found.not_compared) == (2, 2, 1648, ())
    assert dump_lines(found) == ["dmesg.txt: the host started each vCPU with the registers of the plan"]
    assert dump_document(found) == {
        "source": "dmesg.txt",
        "equal": True,
        "vcpus": {"guest": 2, "dump": 2},
        "compared_bytes": 1648,
        "not_compared": [],
        "differences": [],
    }


def test_each_register_that_differs_is_named_with_its_vcpu(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, vcpus=3)
    first, second, third = pages_of(plan)
    log = vmsa_log([changed(first, "sev_features", b"\x21"), second, changed(third, "rdx", b"\x10\x0f\xa1")])
    found = compare_dump(log, plan, "dmesg.txt")
    assert not found.equal
    assert dump_lines(found) == [
        "dmesg.txt: registers differ: sev_features, rdx (vCPU 0, 2)",
        "vCPU 0 (dmesg.txt:1)",
        "  sev_features: the plan has 0x1, the host 0x21",
        "vCPU 2 (dmesg.txt:209)",
        "  rdx: the plan has 0x800f12, the host 0xa10f10",
    ]
    assert dump_document(found)["differences"][1] == {
        "vcpu": 2,
        "line": 209,
        "registers": [{"name": "rdx", "guest": "0x800f12", "dump": "0xa10f10"}],
    }


def test_reserved_bytes_and_bytes_of_a_field_are_shown_as_digits(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, vcpus=1)
    (page,) = pages_of(plan)
    page = changed(page, "fpreg_x87", b"\xab")
    page = page[:0x1C0] + b"\x01" + page[0x1C1:]
    lines = dump_lines(compare_dump(vmsa_log([page]), plan, "dmesg.txt"))
    assert "  reserved 0x1c0: the plan has 0x0, the host 01" in lines
    assert any(line.startswith("  fpreg_x87: the plan has 0000") for line in lines)


def test_another_number_of_vcpus_is_a_difference(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    pages = pages_of(plan)
    for had in (1, 3):
        found = compare_dump(vmsa_log([pages[0], *[pages[1]] * (had - 1)]), plan, "dmesg.txt")
        assert not found.equal
        first, second = dump_lines(found)
        assert first == "dmesg.txt: another number of vCPUs, each with the registers of the plan"
        assert second.startswith(f"the log has {had} VMSA{'s' * (had > 1)}, the plan 2 vCPUs: ")


def test_more_vcpus_than_a_line_holds_are_cut_short(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, vcpus=12)
    log = vmsa_log([changed(page, "rax", b"\x01") for page in pages_of(plan)])
    lines = dump_lines(compare_dump(log, plan, "dmesg.txt"))
    assert lines[0].endswith("rax (vCPU 0, 1, 2, 3, 4, 5, 6, 7, ...)")


def test_the_shorter_form_says_what_it_does_not_hold(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    found = compare_dump(vmsa_log(pages_of(plan), size=1032), plan, "dmesg.txt")
    assert found.equal
    assert (found.compared, found.not_compared) == (1032, ("mxcsr", "x87_fcw"))
    assert dump_lines(found)[-1] == "not compared, for the kernel prints 1032 bytes: mxcsr, x87_fcw"


def test_a_launch_without_vmsas_is_refused(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "sev", vcpus=1)
    with pytest.raises(SevbuildError, match="a launch in mode sev has no VMSA"):
        compare_dump(vmsa_log([bytes(VMSA_SIZE)]), plan, "dmesg.txt")


@given(
    st.lists(st.binary(min_size=1648, max_size=1648), min_size=1, max_size=3), st.sampled_from([1648, 1032])
)
def test_any_vmsa_comes_back(pages: list[bytes], size: int) -> None:
    found = read_dump(vmsa_log(pages, size, "[    1.0] "), "log")
    assert [dump.data for dump in found] == [page[:size] for page in pages]


@given(st.text(alphabet=f"{HEADING}\n 0123456789abcdef[]:"), st.integers(0, 110))
def test_any_text_is_read_or_refused(text: str, cut: int) -> None:
    lines = vmsa_log([PAGE]).split("\n")
    lines[cut:cut] = [text]
    with suppress(SevbuildError):
        assert all(len(dump.data) in (1648, 1032) for dump in read_dump("\n".join(lines), "log"))
