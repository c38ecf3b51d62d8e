"""A comment holds the place of a value that a manifest lacks, and nothing is measured before it is given."""

from __future__ import annotations

from typing import Any

import pytest

from sevbuild.documents.locate import comments
from sevbuild.errors import FaultsError
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.incomplete import incomplete_line

TEXT = """schema = 1
[guest]
name = "g"
version = "1"
[launch]
mode = "snp"
profile = "qemu"
[firmware]
path = "OVMF.fd"
[vcpu]
count = 1
# model = ... # UNKNOWN: which
"""


def faults(text: str, **given: Any) -> list[str]:
    """Return what the decoder says with `table__key` set as `--set` does."""
    settings = {key.replace("__", "."): value for key, value in given.items()}
    try:
        decode_manifest(text, "guest.toml", settings=settings)
    except FaultsError as error:
        return [str(fault) for fault in error.faults]
    return []


def test_the_place_and_the_reason_are_said_and_nothing_else() -> None:
    line = TEXT.splitlines().index("# model = ... # UNKNOWN: which") + 1
    assert faults(TEXT) == [f"guest.toml:{line}: vcpu.model: UNKNOWN: which"]
    # Faults that would only follow from it wait until it is given.
    broken = TEXT.replace('mode = "snp"', 'mode = "snq"')
    assert faults(broken) == [f"guest.toml:{line}: vcpu.model: UNKNOWN: which"]
    assert len(faults(broken, vcpu__model="EPYC")) == 1


@pytest.mark.parametrize("key", ["model", "signature"])
def test_a_value_or_another_way_to_say_it_completes(key: str) -> None:
    value = "EPYC" if key == "model" else 0xA00F11
    assert faults(TEXT, **{f"vcpu__{key}": value}) == []
    written = f"{TEXT}{key} = {value if key == 'signature' else f'{chr(34)}{value}{chr(34)}'}\n"
    assert faults(written) == []


@pytest.mark.parametrize(
    ("table", "key", "instead"),
    [
        ("kernel", "cmdline", "cmdline-file"),
        ("kernel", "path", "sha256"),
        ("kernel", "hashes", "hashes"),
        ("machine", "extra-args", "extra-args"),
        ("launch", "policy", "policy"),
    ],
)
def test_a_key_that_may_be_absent_is_lacking_all_the_same(table: str, key: str, instead: str) -> None:
    lines = ["schema = 1", 'guest = { name = "g", version = "1" }', f"[{table}]", incomplete_line(key, "why")]
    (found,) = faults("\n".join(lines))
    assert found == f"guest.toml:4: {table}.{key}: UNKNOWN: why"
    lines.append(f"{instead} = true")
    assert not any("UNKNOWN" in fault for fault in faults("\n".join(lines)))


def test_a_comment_elsewhere_is_a_comment() -> None:
    complete = TEXT.replace("# model = ... # UNKNOWN: which", 'model = "EPYC" # model = ... # UNKNOWN: x')
    for text in (
        complete,
        complete
        + "# count: UNKNOWN: no sign\n# # stepping = ... # UNKNOWN: twice\n# family = 1 # UNKNOWN: given\n",
        complete + '[variables]\nx = """\n# y = ... # UNKNOWN: within a string\n"""\n',
    ):
        assert faults(text) == []


def test_every_entry_of_a_matrix_may_give_it() -> None:
    entries = '[[matrix]]\nvcpu = { model = "EPYC" }\n[[matrix]]\n[matrix.vcpu]\n'
    assert len(faults(TEXT + entries)) == 1
    assert faults(TEXT + entries + 'model = "EPYC-Milan"\n') == []
    own = (
        TEXT.replace("# model = ... # UNKNOWN: which", 'model = "EPYC"')
        + entries
        + "# count = ... # UNKNOWN: x\n"
    )
    (found,) = faults(own)
    assert "matrix[1].vcpu.count: UNKNOWN: x" in found
    assert faults(own + "count = 2\n") == []


def test_comments_are_found_with_their_tables() -> None:
    text = "# a\n[x]\ny = [ # b\n 1, # c\n]\nz = '# no' # d\n[[m]]\n# e\n[[m]]\n[m.n]\n# f\n"
    assert comments(text) == [
        ("", 1, "# a"),
        ("x", 3, "# b"),
        ("x", 4, "# c"),
        ("x", 6, "# d"),
        ("m[0]", 8, "# e"),
        ("m[1].n", 11, "# f"),
    ]
    assert comments("# a\n= # lost") == [("", 1, "# a")]
