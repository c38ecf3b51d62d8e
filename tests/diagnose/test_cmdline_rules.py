"""Which command lines are tried, byte for byte, and what becomes of them in a manifest."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from random import Random
from time import process_time

import pytest
import tomli

from sevbuild.diagnose.change import SEEN, Change, Material, Start
from sevbuild.diagnose.rules.all_rules import changes_for
from sevbuild.diagnose.rules.cmdlines import cmdline_changes, counted_name
from sevbuild.diagnose.rules.kata import kata_lines
from sevbuild.diagnose.setup import LaidOut
from sevbuild.guest.guest import load_guest
from sevbuild.image.kernel_hashes import cmdline_digest
from sevbuild.manifest.template import parse_template
from sevbuild.text import encode_text
from tests.support.starts import by_value, digest, edited_digest, kernel_guest, profiles, start_of

KATA = (
    b"tsc=reliable no_timer_check rcupdate.rcu_expedited=1 i8042.direct=1 i8042.dumbkbd=1 i8042.nopnp=1 "
    b"i8042.noaux=1 noreplace-smp reboot=k cryptomgr.notests net.ifnames=0 pci=lastbus=0"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Start:
    return start_of(kernel_guest(tmp_path_factory.mktemp("guest")))


def changes_of(base: Start, line: bytes) -> dict[str, Change]:
    setup = base.setup
    assert isinstance(setup, LaidOut)
    assert setup.inputs.kernel_hashes is not None
    hashes = setup.inputs.kernel_hashes._replace(cmdline=sha256(line + b"\0").digest())
    setup = setup._replace(inputs=setup.inputs._replace(kernel_hashes=hashes))
    start = base._replace(setup=setup, material=Material(line))
    return by_value(cmdline_changes(start), "cmdline")


def digest_of(base: Start, change: Change) -> bytes:
    setup = change.apply(base.setup)
    assert isinstance(setup, LaidOut)
    assert setup.launched.kernel_hashes is not None
    return setup.launched.kernel_hashes.cmdline


@pytest.mark.parametrize(
    ("line", "name", "found"),
    [
        (b"a b\n", "no newline", b"a b\0"),
        (b"a b\r\n", "no newline", b"a b\0"),
        (b"a b", "newline", b"a b\n\0"),
        (b"a b", "newlines", b"a b\n\n\0"),
        (b"a b", "CR LF", b"a b\r\n\0"),
        (b" a b ", "trimmed", b"a b\0"),
        (b"a b", "space", b"a b \0"),
        (b"a b", "space first", b" a b\0"),
        (b"a b", "none", b"\0"),
        (b"a b", "no NUL", b"a b"),
        (b"a b", "newline, no NUL", b"a b\n"),
        (b"a b", "NUL", b"a b\0\0"),
        (b"a  b\t\nc ", "single spaces", b"a b c \0"),
        (b"a  b\t\nc ", "single spaces, trimmed", b"a b c\0"),
        (b"a  b\tc\r\n", "plain spaces", b"a  b c \0"),
        (b"a  b\tc\r\n", "plain spaces, trimmed", b"a  b c\0"),
        (b"a b c", "double spaces", b"a  b  c\0"),
        (b"a b c", "two spaces, 2", b"a b  c\0"),
        (b"a=\"b c\" d='e'", "no double quotes", b"a=b c d='e'\0"),
        (b"a=\"b c\" d='e'", "no single quotes", b'a="b c" d=e\0'),
        (b"a b", "double quotes", b'"a b"\0'),
        (b"a b", "single quotes", b"'a b'\0"),
        (rb"a=\"b\\", "no backslashes", b'a="b\\\0'),
        (b"a b", "initrd=initrd", b"a b initrd=initrd\0"),
        (b"", "initrd=initrd", b"initrd=initrd\0"),
        (b"a b", "initrd=initrd first", b"initrd=initrd a b\0"),
        (b"a initrd=x b", "no initrd=x", b"a b\0"),
        (b"a initrd=x", "no initrd=x", b"a\0"),
        (b"a nr_cpus=2 b", "nr_cpus=512", b"a nr_cpus=512 b\0"),
        (b"a nr_cpus=2 b", "no nr_cpus", b"a b\0"),
        (b"a b", "nr_cpus=1", b"a b nr_cpus=1\0"),
        (b"xnr_cpus=2", "nr_cpus=3", b"xnr_cpus=2 nr_cpus=3\0"),
        (b"a b c", "no word 1", b"b c\0"),
        (b"a b c", "no word 3", b"a b\0"),
        (
            b"agent.log=debug",
            "Kata, quiet, nr_cpus=128 selinux=0",
            KATA + b" quiet panic=1 nr_cpus=128 selinux=0 agent.log=debug\0",
        ),
        (
            b"",
            "Kata, debug, nr_cpus=1 selinux=0",
            KATA + b" console=hvc0 console=hvc1 debug panic=1 nr_cpus=1 selinux=0\0",
        ),
        (KATA + b" quiet panic=1 nr_cpus=4 selinux=0 a b", "without Kata's", b"a b\0"),
        (KATA + b" root=/dev/vda1 quiet panic=1 nr_cpus=4 a", "without Kata's", b"a\0"),
        (
            KATA + b" quiet panic=1 nr_cpus=4 a",
            "Kata, debug",
            KATA + b" console=hvc0 console=hvc1 debug panic=1 nr_cpus=4 a\0",
        ),
        (
            KATA + b" console=hvc0 console=hvc1 debug panic=1 nr_cpus=4",
            "Kata, quiet",
            KATA + b" quiet panic=1 nr_cpus=4\0",
        ),
        (
            KATA + b" quiet panic=1 nr_cpus=4 selinux=0 a",
            "Kata, selinux=1",
            KATA + b" quiet panic=1 nr_cpus=4 selinux=1 a\0",
        ),
        (
            KATA + b" quiet panic=1 nr_cpus=4 selinux=0",
            "Kata, no selinux",
            KATA + b" quiet panic=1 nr_cpus=4\0",
        ),
        (
            KATA + b" quiet panic=1 nr_cpus=4 a",
            "Kata, selinux=0",
            KATA + b" quiet panic=1 nr_cpus=4 selinux=0 a\0",
        ),
        (b"a={b}", "double braces", b"a={{b}}\0"),
        (KATA + b" quiet panic=1 nr_cpus=4 a", "nr_cpus=64", KATA + b" quiet panic=1 nr_cpus=64 a\0"),
    ],
)
def test_what_is_hashed_byte_for_byte(base: Start, line: bytes, name: str, found: bytes) -> None:
    change = changes_of(base, line)[name]
    assert digest_of(base, change) == sha256(found).digest()


def test_a_line_that_begins_as_kata_s_and_ends_otherwise_is_not_put_after_it(base: Start) -> None:
    assert not [name for name in changes_of(base, KATA + b" a") if "Kata" in name]


@pytest.mark.parametrize("line", [b"", b"a", b"a b\n", b"\xff\xfe", b'"' * 70, b"x " * 5000])
def test_no_digest_is_tried_twice_nor_that_of_the_start(base: Start, line: bytes) -> None:
    found = [digest_of(base, change) for change in changes_of(base, line).values()]
    assert len({*found, sha256(line + b"\0").digest()}) == len(found) + 1
    assert all(len(entry) == 32 for entry in found)


@pytest.mark.parametrize("seed", range(8))
def test_any_bytes_are_a_command_line(base: Start, seed: int) -> None:
    random = Random(seed)
    line = bytes(random.choices(b" \t\n\r\"'\\{}=a\x00\x7f\xc3\xff", k=random.randrange(80)))
    for change in changes_of(base, line).values():
        for edit in change.edits:
            if edit.value is not None:
                text = tomli.loads(f"value = {edit.value}")["value"]
                assert digest_of(base, change) == cmdline_digest(encode_text(parse_template(text).fill({})))


def test_what_a_manifest_cannot_say_has_no_edit(base: Start) -> None:
    changes = changes_of(base, b"a {b}")
    assert {name for name, change in changes.items() if not change.edits} == {
        "NUL",
        "no NUL",
        "newline, no NUL",
    }
    (edit,) = changes["newline"].edits
    assert (edit.key, edit.value) == ("kernel.cmdline", '"a {{b}}\\n"')


def test_a_line_of_a_variant_or_a_file_is_edited_where_it_is(base: Start) -> None:
    start = base._replace(material=Material(b"a", cmdline_key="kernel.cmdlines.debug"))
    edits = by_value(cmdline_changes(start), "cmdline")["newline"].edits
    assert [edit.key for edit in edits] == ["kernel.cmdlines.debug"]
    start = base._replace(material=Material(b"a", cmdline_key="kernel.cmdline-file"))
    edits = by_value(cmdline_changes(start), "cmdline")["newline"].edits
    assert [tuple(edit) for edit in edits] == [("kernel.cmdline-file", None), ("kernel.cmdline", '"a\\n"')]
    start = base._replace(material=Material(b"a", cmdline_key=None))
    assert by_value(cmdline_changes(start), "cmdline")["newline"].edits == ()


def test_a_line_that_holds_the_number_of_vcpus(tmp_path: Path) -> None:
    manifest = kernel_guest(tmp_path, kernel={"path": "vmlinuz", "cmdline": "maxcpus={vcpus} quiet"})
    guest, start = load_guest(str(manifest)), start_of(manifest)
    (target,) = guest.targets
    material = start.material._replace(
        counted_cmdline=lambda count: guest.kernels.cmdline(target._replace(vcpus=count))
    )
    changes = by_value(cmdline_changes(start._replace(material=material)), "cmdline")
    change = changes[counted_name(4)]
    assert change.weight < SEEN <= changes[counted_name(77)].weight
    assert changes[counted_name(128)].weight < SEEN
    assert change.edits[-1].value == '"maxcpus=4 quiet"'
    assert digest(change.apply(start.setup)) == edited_digest(manifest, change.edits)
    # The line of one vCPU is the start's own.
    assert counted_name(1) not in changes


def test_where_no_kernel_is_measured_lines_are_for_one_that_is(tmp_path: Path) -> None:
    manifest = kernel_guest(tmp_path, kernel={"path": "vmlinuz", "cmdline": "a b", "hashes": False})
    start = start_of(manifest)
    changes = changes_for(start, profiles())
    on, newline = by_value(changes, "kernel-hashes")["on"], by_value(changes, "cmdline")["newline"]
    assert digest(newline.apply(start.setup)) == start.digest
    both = newline.apply(on.apply(start.setup))
    assert both == on.apply(newline.apply(start.setup))
    assert digest(both) == edited_digest(manifest, (*on.edits, *newline.edits))
    assert digest(on.apply(start.setup)) == edited_digest(manifest, on.edits)
    assert all(change.weight < SEEN for change in by_value(changes, "cmdline").values())
    # Without its bytes there is nothing to change.
    assert list(cmdline_changes(start._replace(material=Material()))) == []


def test_of_a_line_of_many_initrds_no_more_are_looked_at_than_of_other_words(base: Start) -> None:
    found = changes_of(base, b" ".join(b"initrd=%d" % number for number in range(500)))
    assert sum(name.startswith("no initrd=") for name in found) == 64


def test_a_long_line_that_begins_as_kata_s_is_told_apart_at_once() -> None:
    begin = process_time()
    assert list(kata_lines(KATA + b" console=hvc0" * 16_000, 1)) == []
    assert process_time() - begin < 1
