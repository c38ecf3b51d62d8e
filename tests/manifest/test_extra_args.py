"""QEMU's own grammar decides what an extra argument is, and an allow-list which may be there."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.manifest.extra_args import (
    EXTRA_OPTIONS,
    EXTRA_RULES,
    OWN_OPTIONS,
    refusal,
    refused_arguments,
)
from sevbuild.manifest.qemu_options import FLAGS, global_property, properties, qemu_pairs
from tests.support.real import QEMU, require

ALLOWED = [
    ["-S"],
    ["--no-reboot"],
    ["disk.img"],
    [""],
    ["-machine", "vmport=off,usb=off,dump-guest-core=off,smm=off"],
    ["-M", "acpi=on,kernel_irqchip=split"],
    ["-device", "pcie-root-port,port=0x10,chassis=1,id=pci.1"],
    ["-device", json.dumps({"driver": "virtio-net-pci", "netdev": "n", "id": "net0"})],
    ["-device", "driver=vfio-pci,host=01:00.0"],
    ["-device", "vhost-vsock-pci,guest-cid=3"],
    ["-netdev", "user,id=n,hostfwd=tcp::2222-:22"],
    ["-object", "rng-random,id=r,filename=/dev/urandom"],
    ["-object", "id=t,qom-type=iothread"],
    ["-object", json.dumps({"qom-type": "secret", "id": "s", "format": "raw", "file": "/key"})],
    ["-object", "memory-backend-file,id=m,mem-path=/x,size=1G"],
    ["-drive", "file=disk.img"],
    ["-drive", "if=virtio,file=if=pflash"],
    ["-drive", "file=a,,if=pflash,if=none"],
    ["-global", "ICH9-LPC.disable_s3=1"],
    ["-global", "driver=virtio-blk-pci,property=physical_block_size,value=4096"],
    ["-fw_cfg", "opt/com.coreos/config,file=ignition.json"],
    ["-name", "-kernel"],
]


@pytest.mark.parametrize("arguments", ALLOWED, ids=" ".join)
def test_what_may_go_with_a_launch(arguments: list[str]) -> None:
    assert list(refused_arguments(arguments)) == []


@pytest.mark.parametrize(
    ("arguments", "index", "complaint"),
    [
        (["-S", "-smp", "8"], 1, "-smp is set elsewhere"),
        (["-object", "sev-guest,id=x"], 0, "the object is set elsewhere"),
        (["-object", "{"], 0, "not valid JSON"),
        (["-object", "[]"], 0, "an object '[]'"),
        (["-object", "{}"], 0, "an object ''"),
        (["-device", " {}"], 0, "a device ' {}'"),
        (["-drive", "if=,file=x"], 0, "if=: "),
        (["-global", "cfi.pflash01.secure=on"], 0, "a property of 'cfi'"),
        (["-machine", '{"type":"q35"}'], 0, "type of the machine"),
        (["-"], 0, "- is not a QEMU option"),
        (["--"], 0, "-- is not a QEMU option"),
        (["-S", "-name"], 1, "-name is the last argument"),
        (["-x", "-kernel", "-bios", "y"], 0, "-x -kernel may change"),
    ],
)
def test_what_would_change_the_launch_is_refused(arguments: list[str], index: int, complaint: str) -> None:
    first, *_ = refused_arguments(arguments)
    assert first[0] == index
    assert first[1].startswith(complaint) or complaint in first[1]


def test_each_refused_argument_is_named_where_it_stands() -> None:
    found = list(refused_arguments(["-x", "1", "-S", "-readconfig", "y", "-kernel", "z"]))
    assert [index for index, _ in found] == [0, 3, 5]


@pytest.mark.parametrize(
    ("value", "implied", "expected"),
    [
        ("", "type", {}),
        ("q35", "type", {"type": "q35"}),
        ("a,,b=c,d", "type", {"type": "a,b=c", "d": "on"}),
        ("a=1,a=2", "", {"a": "2"}),
        ("a=b=c", "x", {"a": "b=c"}),
        ("a,b=,", "x", {"x": "a", "b": ""}),
        ("a", "", {"a": "on"}),
        ("f=a,,,g=b", "", {"f": "a,", "g": "b"}),
        (
            '{"a": true, "b": {"c": [1, {"d": "x"}]}, "e": null}',
            "t",
            {"a": "on", "b.c.0": "1", "b.c.1.d": "x"},
        ),
        ("[1]", "t", {"t": "[1]"}),
    ],
)
def test_properties_are_split_at_single_commas(value: str, implied: str, expected: dict[str, str]) -> None:
    assert properties(value, implied) == expected


@given(st.dictionaries(st.text("abc.-", min_size=1), st.text("ab=,{ "), max_size=4))
def test_what_is_escaped_reads_back(table: dict[str, str]) -> None:
    value = ",".join(f"{name}={text.replace(',', ',,')}" for name, text in table.items())
    assert properties(value) == table


@given(st.text("a=,{}-.\"'"))
def test_no_value_crashes_a_rule(value: str) -> None:
    for option in EXTRA_RULES:
        refusal(option, value)
    with suppress(SevbuildError):
        global_property(value)


def test_an_option_takes_the_word_after_it() -> None:
    words = ["-S", "--kernel", "-S", "x", "-", "-name"]
    pairs = qemu_pairs(words)
    assert [next(pairs) for _ in range(4)] == [
        (0, "S", None),
        (1, "kernel", "-S"),
        (3, "", "x"),
        (4, "", "-"),
    ]
    with pytest.raises(SevbuildError, match="-name is the last argument"):
        next(pairs)


def test_no_option_is_both_ours_and_extra() -> None:
    assert not EXTRA_OPTIONS & set(OWN_OPTIONS)
    assert not EXTRA_OPTIONS & set(EXTRA_RULES)


def test_qemu_has_every_option_of_the_list() -> None:
    require(QEMU, "qemu-system-x86_64")
    text = subprocess.run([str(QEMU), "-help"], check=True, capture_output=True, text=True).stdout
    # `-fda/-fdb file`, `-h or -help`, `--preconfig`; a first word after the name is the value's.
    found: dict[str, bool] = {}
    for names, rest in re.findall(r"^-(-?[\w-]+(?:(?:/| or )-[\w-]+)*)(.*)$", text, re.MULTILINE):
        for name in re.split(r"/-| or -", names.lstrip("-")):
            found[name] = found.get(name, False) or bool(re.match(r"\s[^\s]", rest))
    for name in (EXTRA_OPTIONS | set(EXTRA_RULES)) - {"M"}:
        assert name in found, name
        assert found[name] != (name in FLAGS), name


def test_no_processor_and_no_loader_of_qemu_passes_for_a_device() -> None:
    require(QEMU, "qemu-system-x86_64")
    text = subprocess.run([str(QEMU), "-device", "help"], check=True, capture_output=True, text=True).stdout
    passed: dict[str, set[str]] = {}
    for section in text.split("\n\n"):
        title, _, rest = section.partition("\n")
        names = re.findall(r'^name "([^"]+)"', rest, re.MULTILINE)
        passed[title.rstrip(":")] = {name for name in names if refusal("device", name) is None}
        for name in names:
            assert (refusal("global", f"{name}.x=y") is None) >= (refusal("device", name) is None)
    assert passed["CPU devices"] == set()
    assert {"virtio-net-pci", "e1000e"} <= passed["Network devices"]
    assert not {"loader", "guest-loader"} & set().union(*passed.values())
