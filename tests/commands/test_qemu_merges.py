"""What a command line says twice is merged as QEMU itself merges it."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.commands.importing.draft import Draft, number
from sevbuild.commands.importing.hardware import read_vcpus
from sevbuild.commands.importing.line import CommandLine
from tests.support.real import QEMU, require
from tests.support.shared import ROOT

BACKPORTS = ROOT / ".cache/backports/usr"
_TEXT = st.sampled_from(["/k", "a,b", "x=y", "", "two words", ",,", "a,", "={}"])
_COUNT = st.sampled_from(["1", "2", "3", "0x4", "010"])


def _escaped(value: str) -> str:
    return value.replace(",", ",,")


_OPTIONS = st.one_of(
    st.tuples(st.sampled_from(["-kernel", "-initrd", "-append", "-dtb", "-bios", "--kernel"]), _TEXT),
    st.tuples(
        st.sampled_from(["-machine", "-M", "--machine"]),
        st.lists(
            st.tuples(st.sampled_from(["kernel", "initrd", "append", "dtb", "firmware", "smp.maxcpus"]), _TEXT | _COUNT),
            min_size=1, max_size=3,
        ).map(lambda pairs: ",".join(f"{name}={_escaped(value)}" for name, value in pairs)),
    ),
    st.tuples(st.just("-smp"), _COUNT),
    st.tuples(st.just("-smp"), st.tuples(_COUNT, _COUNT).map(lambda pair: f"{pair[0]},maxcpus={pair[1]}")),
    st.tuples(st.just("-smp"), st.tuples(_COUNT, _COUNT).map(lambda pair: f"sockets={pair[0]},cores={pair[1]}")),
    st.tuples(st.just("-machine"), _COUNT.map("smp.cpus={}".format)),
    st.tuples(st.just("-machine"), st.sampled_from(["dump_guest_core=off", "mem-merge=off,x_oem_id=a"])),
    st.tuples(st.just("-name"), st.just("-kernel")),
)  # fmt: skip


@pytest.fixture(scope="module", params=["bookworm", "bookworm-backports"])
def qemu(request: pytest.FixtureRequest) -> tuple[list[str], dict[str, str]]:
    if request.param == "bookworm":
        require(QEMU, "qemu-system-x86_64")
        return [str(QEMU)], dict(os.environ)
    program = BACKPORTS / "bin/qemu-system-x86_64"
    require(program.exists(), f"{program.relative_to(ROOT)}, of bookworm-backports' qemu-system-x86")
    return [str(program)], {**os.environ, "LD_LIBRARY_PATH": str(BACKPORTS / "lib/x86_64-linux-gnu")}


def _machine(qemu: tuple[list[str], dict[str, str]], arguments: list[str]) -> dict[str, Any] | None:
    """Return the properties of a machine before it is made; None where QEMU refuses the arguments."""
    names = ["kernel", "initrd", "append", "dtb", "firmware", "smp"]
    asked = [{"execute": "qom-get", "arguments": {"path": "/machine", "property": name}} for name in names]
    commands = [{"execute": "qmp_capabilities"}, *asked, {"execute": "quit"}]
    command = [
        *qemu[0],
        "-machine",
        "q35",
        "-display",
        "none",
        "-nodefaults",
        "--preconfig",
        "-qmp",
        "stdio",
        *arguments,
    ]
    result = subprocess.run(
        command, env=qemu[1], input="\n".join(map(json.dumps, commands)), capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    found = [answer["return"] for answer in answers if "return" in answer]
    return dict(zip(names, found[1:], strict=False)) if result.returncode == 0 else None


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(options=st.lists(_OPTIONS, min_size=1, max_size=6))
def test_the_later_of_two_spellings_counts(
    qemu: tuple[list[str], dict[str, str]], options: list[tuple[str, str]]
) -> None:
    arguments = [word for pair in options for word in pair]
    expected = _machine(qemu, arguments)
    if expected is None:
        return
    line = CommandLine(arguments)
    absent = {"firmware": "bios-256k.bin"}
    for name in ("kernel", "initrd", "append", "dtb", "firmware"):
        assert line.machine.get(name, absent.get(name, "")) == expected[name], name
    draft = Draft()
    read_vcpus(line, draft)
    assert draft.tables["vcpu"]["count"] == expected["smp"]["cpus"]


def test_qemu_takes_what_the_examples_say(qemu: tuple[list[str], dict[str, str]]) -> None:
    found = _machine(
        qemu, ["-kernel", "/k", "-machine", "kernel=/j,append=a,,b", "-smp", "2", "-smp", "maxcpus=010"]
    )
    assert found is not None
    assert (found["kernel"], found["append"]) == ("/j", "a,b")
    assert (found["smp"]["cpus"], found["smp"]["maxcpus"]) == (2, number("maxcpus", "010"))
    assert _machine(qemu, ["-smp", "none"]) is None
