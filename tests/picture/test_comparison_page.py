"""Two launches side by side: every step of both, and the one where they part marked, in words too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sevbuild.diagnose.answer import Answer, Expectation, Explanation, Line
from sevbuild.diagnose.differences.model import Cause, Compared, Detail, Difference, Launches, Step, StepSide
from sevbuild.diagnose.drawn import answer_picture, difference_picture
from sevbuild.guest.guest import load_guest
from sevbuild.launch.region_data import chunks
from sevbuild.picture.comparison_page import ComparisonPicture, Part, comparison_maps, comparison_page
from sevbuild.picture.two_launches import Pair, Side, TwoLaunches
from tests.picture.support import NASTY, Parsed, boxes_of, root_of, update
from tests.support.cli import run
from tests.support.kernel_log import vmsa_log
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello" / "guest.toml"


def _side(number: int, digest: str, origin: str = "", page_type: str = "normal") -> Side:
    found = update(origin or f"section {number}", page_type, 16 * number, 1)
    return Side(number, found._replace(digest=digest * 48))


ALIKE = [Pair(_side(number, f"0{number}"), _side(number, f"0{number}")) for number in range(5)]
LAUNCHES = TwoLaunches(
    ("the guest", "the other"),
    ("aa" * 48, "bb" * 48),
    (
        *ALIKE,
        Pair(_side(5, "a5"), _side(5, "b5", page_type="zero"), ("page_type", "data")),
        Pair(None, _side(6, "b6", "extra")),
        Pair(_side(6, "a6"), _side(7, "b7")._replace(update=_side(6, "b7").update)),
        Pair(_side(7, "a7"), _side(8, "b8"), ("gpa", "length", "data"), ("rdx: 0x1 → 0x2",)),
    ),
    5,
)
PICTURE = ComparisonPicture("a title", "another digest", (("Guest", "hello"),), (), (LAUNCHES,))


def _rows(picture: ComparisonPicture) -> list[str]:
    """Return the text of each row of the table of steps."""
    table = comparison_page(picture).partition('<table class="pairs">')[2].partition("</table>")[0]
    return [re.sub(r"<[^>]*>", " ", row) for row in table.split("<tr")[1:]]


def test_the_parting_step_is_marked() -> None:
    text = comparison_page(PICTURE)
    assert text.count('<tr class="parting">') == 2
    rows = _rows(PICTURE)
    at = next(index for index, row in enumerate(rows) if "The launches part here" in row)
    assert "a5" * 32 in rows[at + 1].replace(" ", "")[:400] or "a5" * 48 in rows[at + 1]
    assert "page type: normal → zero" in rows[at + 1]
    assert "2 steps with the same digests in both" in rows[1]
    assert all("alike" in row for row in rows[2:at])
    # A step that one launch has alone, one that is the same after another digest, and registers.
    assert "not in this launch" in rows[at + 2]
    assert "in the other alone" in rows[at + 2]
    assert "the same update, after another digest" in rows[at + 3]
    assert "rdx: 0x1 → 0x2" in rows[at + 4]
    assert "address: 0x70000 → 0x80000" in rows[at + 4]


def test_both_maps_mark_where_the_launches_part() -> None:
    svg = comparison_maps(PICTURE)
    assert svg is not None
    assert [height for _, height in boxes_of(svg, "mark")] == [13.0, 13.0]
    assert svg.count("the launches part here") == 2
    # The guest's launch has nothing at the step that the other alone has.
    alone = LAUNCHES._replace(pairs=LAUNCHES.pairs[:5] + LAUNCHES.pairs[6:])
    only = comparison_maps(PICTURE._replace(launches=(alone,)))
    assert only is not None
    assert len(boxes_of(only, "mark")) == 1
    assert 'class="mark"' in comparison_page(PICTURE)


def test_launches_that_never_part_have_no_mark() -> None:
    same = LAUNCHES._replace(pairs=tuple(ALIKE), parting=None)
    text = comparison_page(PICTURE._replace(launches=(same,)))
    assert "part here" not in text
    assert "2 steps with the same digests in both" in text


def test_launches_of_which_digests_alone_are_known() -> None:
    picture = PICTURE._replace(launches=(LAUNCHES._replace(pairs=(), parting=None),))
    page = Parsed(comparison_page(picture))
    assert "one side has digests alone" in page.text
    assert "aa" * 48 in page.text
    assert comparison_maps(picture) is None
    # The maps are those of the first launches that are known.
    assert comparison_maps(picture._replace(launches=(*picture.launches, LAUNCHES))) is not None


def test_parts_are_read_in_order_and_names_are_text() -> None:
    parts = (
        Part(NASTY, (NASTY,)),
        Part("Excluded", ("one", "two"), ("What", "Old", "New"), (("cs", NASTY, "0x2"),)),
    )
    names = (NASTY, "the other")
    picture = ComparisonPicture(
        NASTY, NASTY, ((NASTY, NASTY),), parts, (LAUNCHES._replace(names=names), LAUNCHES)
    )
    page = Parsed(comparison_page(picture))
    assert len(page.raw["script"]) == 1
    assert page.text.count("<script>alert(1)</script>") > 8
    assert page.text.index("Excluded") < page.text.index("beside")
    assert len(page.ids()) == len(set(page.ids()))
    assert page.targets() <= set(page.ids())
    assert len(page.all("details")) == 2
    svg = comparison_maps(picture)
    assert svg is not None
    root_of(svg)


def _step(index: int, digest: int, **more: object) -> StepSide:
    side = StepSide(index, "firmware", "normal", 0x1000, 0x1000, b"\1" * 48, bytes([digest]) * 48)
    return side._replace(**more)  # type: ignore[arg-type]


def test_a_difference_is_drawn() -> None:
    cause = Cause(
        "registers",
        "VMSA 0",
        "note",
        None,
        "new",
        ("a:1", ""),
        (Detail("rdx", "0x1", None, "the CPU"),),
        ("snp/x",),
    )
    launches = Launches(
        ("snp/x", "snp/x"),
        (b"\1" * 48, b"\2" * 48),
        (
            Step(_step(0, 1), _step(0, 1)),
            Step(
                _step(1, 2), None, (), (Detail("1 of 2 pages", None, None, "0x1000"), Detail("x", None, None))
            ),
            Step(None, _step(1, 3, contents=None)),
        ),
        1,
        (*((f"snp/{number}", f"snp/{number}") for number in range(9)), ("snp/a", "snp/b")),
    )
    found = Difference(
        Compared("old.toml", "manifest"),
        Compared("new.toml", "manifest"),
        "2 targets",
        "different",
        (cause,),
        (launches,),
        alone=(("snp/y",), ()),
        not_compared=("profiles",),
    )
    picture = difference_picture(found, "different digest: 2 of 2 targets")
    assert picture.lead == "different digest: 2 of 2 targets"
    assert [part.title for part in picture.parts] == [
        "VMSA 0",
        "Only in the old one",
        "Not compared",
        "For the same causes as snp/x",
    ]
    assert picture.parts[3].lines == (*(f"snp/{number}" for number in range(8)), "and 2 more pairs")
    assert picture.parts[0].lines == ("none → new", "a:1", "only called or written otherwise", "of snp/x")
    assert picture.parts[0].rows == (("rdx", "0x1", "none", "the CPU"),)
    (drawn,) = picture.launches
    assert drawn.names == ("old snp/x", "new snp/x")
    assert (drawn.parting, [pair.first is None for pair in drawn.pairs]) == (1, [False, False, True])
    assert drawn.pairs[1].details == ("1 of 2 pages: 0x1000", "x")
    assert drawn.pairs[0].first is not None
    assert drawn.pairs[0].first.update.contents == "01" * 48
    assert "The launches part here" in comparison_page(picture)


def test_an_answer_is_drawn(tmp_path: Path) -> None:
    digest = run("measure", "-q", HELLO, "--set", "vcpu.count=4").out.strip()
    result = run("explain", "-q", HELLO, digest, "-f", "html")
    assert (result.status, result.err) == (0, "")
    page = Parsed(result.out)
    answer = run("explain", "-q", HELLO, digest)
    assert answer.out.splitlines()[0] in page.text
    for text in (digest, "vcpu.count", "vmsa 3", "The launches part here"):
        assert text in page.text
    assert run("explain", "-q", HELLO, digest, "-f", "html").out == result.out
    svg = run("explain", "-q", HELLO, digest, "-f", "svg")
    assert svg.status == 0
    assert len(boxes_of(svg.out, "o-firmware")) == 2
    assert len(boxes_of(svg.out, "mark")) == 1
    written = run("explain", HELLO, digest, "-f", "html", "-o", tmp_path / "answer.html")
    assert (written.status, written.err) == (0, f"wrote {tmp_path / 'answer.html'}\n")
    assert (tmp_path / "answer.html").read_text() == result.out


def test_an_answer_that_was_not_found_says_what_is_known() -> None:
    answer = Answer(
        "not-found", "hello", Expectation(b"\1" * 48, "report.bin", "report"), "not found: nothing has it",
        excluded=("no CPU gives it",), not_covered=("two changes",), next=("the firmware",), notes=("a note",),
    )  # fmt: skip
    picture = answer_picture(answer, ["9 launches tried"])
    assert [(part.title, part.lines) for part in picture.parts] == [
        ("Excluded", ("no CPU gives it",)),
        ("Not covered", ("two changes",)),
        ("What to get next", ("the firmware",)),
        ("Notes", ("a note",)),
        ("What was tried", ("9 launches tried",)),
    ]
    assert comparison_maps(picture) is None


def test_further_explanations_are_named() -> None:
    first = Explanation(
        "snp/x",
        "the bytes are reversed",
        edits=(Line("guest.toml", 3, "a.b", None, "1"), Line("--set", None, "c", "2", None)),
    )
    answer = Answer("found", "hello", Expectation(b"", "", "digest"), "x", (first,), (first, first))
    picture = answer_picture(answer)
    assert [part.title for part in picture.parts] == ["What to edit", "Other explanations that fit as well"]
    assert picture.parts[0].rows == (
        ("guest.toml:3", "a.b", "not there", "1"),
        ("--set", "c", "2", "remove it"),
    )
    assert picture.parts[1].lines == ("the bytes are reversed",) * 2
    assert picture.launches == ()


def test_a_kernel_log_comes_first(tmp_path: Path) -> None:
    guest = load_guest(str(HELLO))
    page = bytearray(b"".join(chunks(guest.plan(guest.targets[0]).vmsas[0].data or b"")))
    page[0x310] ^= 1
    log = tmp_path / "dmesg.txt"
    log.write_text(vmsa_log([bytes(page)]))
    result = run("explain", "-q", HELLO, "00" * 48, "--vmsa-dump", log, "--budget", "0.1", "-f", "html")
    assert "The VMSAs in the kernel log" in result.out


@pytest.mark.slow
def test_an_answer_without_an_explanation_has_no_map(tmp_path: Path) -> None:
    words = ["explain", "-q", HELLO, "00" * 48, "--budget", "0.2"]
    result = run(*words, "-f", "html")
    assert result.status == 1
    assert "What was tried" in Parsed(result.out).text
    drawn = run(*words, "-f", "svg", "-o", tmp_path / "map.svg")
    assert (drawn.status, drawn.out) == (1, "")
    assert "not found" in drawn.err
    assert not (tmp_path / "map.svg").exists()
    equal = run("explain", "-q", HELLO, run("measure", "-q", HELLO).out.strip(), "-f", "svg")
    assert equal.status == 2
    assert "no launch is known here" in equal.err


def test_an_answer_replaces_nothing_that_was_asked(tmp_path: Path) -> None:
    manifest = tmp_path / "guest.toml"
    text = HELLO.read_text().replace("hello.fd", str(HELLO.parent / "hello.fd"))
    manifest.write_text(text)
    digest = tmp_path / "digest"
    digest.write_text(run("measure", "-q", HELLO).out)
    folder = tmp_path / "candidates"
    folder.mkdir()
    (folder / "OVMF.fd").write_bytes((HELLO.parent / "hello.fd").read_bytes())
    for output in (manifest, folder / "OVMF.fd"):
        result = run(
            "explain",
            "-q",
            manifest,
            digest.read_text().strip(),
            "-o",
            output,
            "-f",
            "html",
            "--firmware",
            folder,
        )
        assert result.status == 2
        assert "it is not replaced" in result.err
    assert manifest.read_text() == text
    refused = run("explain", "-q", manifest, "00" * 48, "--stats", "-f", "svg")
    assert refused.status == 2
    assert "--stats: a map shows no statistics" in refused.err
    needless = run("explain", "-q", manifest, "00" * 48, "--stats", "-f", "json")
    assert needless.status == 2
    assert "--stats has no effect" in needless.err


def _guests(folder: Path) -> tuple[Path, Path]:
    """Write two manifests over one firmware that differ in CPU and vCPU count."""
    text = HELLO.read_text().replace("hello.fd", str(HELLO.parent / "hello.fd"))
    old, new = folder / "old.toml", folder / "new.toml"
    old.write_text(text)
    new.write_text(text.replace('"EPYC-Milan"', '"EPYC-v4"'))
    return old, new


def test_two_manifests_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _guests(tmp_path)
    table = run("diff", "-q", "old.toml", "new.toml")
    result = run("diff", "-q", "old.toml", "new.toml", "-f", "html")
    assert (result.status, result.err) == (table.status, table.err) == (1, "")
    page = Parsed(result.out)
    assert table.out.splitlines()[0] in page.text
    for text in ("CPU model", "old.toml:21, new.toml:21", "rdx: ", "The launches part here"):
        assert text in page.text
    svg = run("diff", "-q", "old.toml", "new.toml", "-f", "svg")
    assert svg.status == 1
    assert len(boxes_of(svg.out, "mark")) == 2
    # Every format can be written, with the exit code of the verb.
    for fmt in ("table", "json", "html", "svg"):
        written = run("diff", "-q", "old.toml", "new.toml", "-f", fmt, "-o", f"written.{fmt}")
        assert (written.status, written.out) == (1, "")
        printed = run("diff", "-q", "old.toml", "new.toml", "-f", fmt)
        assert Path(f"written.{fmt}").read_text() == printed.out
    same = run("diff", "-q", "old.toml", "old.toml", "-f", "html")
    assert same.status == 0
    assert "same digest" in same.out


def test_two_documents_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in _guests(tmp_path):
        Path(f"{path.stem}.json").write_text(run("measure", "-q", path, "-f", "json").out)
    result = run("diff", "old.json", "new.json", "-f", "html")
    assert result.status == 1
    assert "snp/qemu/EPYC-v4/vcpus1" in Parsed(result.out).text
    drawn = run("diff", "old.json", "new.json", "-f", "svg")
    assert drawn.status == 2
    assert "no launch is known here" in drawn.err
    table = run("diff", "old.json", "new.json", "-o", "table.txt")
    assert (table.status, table.err) == (1, "wrote table.txt\n")
    assert Path("table.txt").read_text() == run("diff", "old.json", "new.json").out


def test_two_firmwares_are_shown_by_their_pages(tmp_path: Path) -> None:
    firmware = HELLO.parent / "hello.fd"
    other = tmp_path / "other.fd"
    data = firmware.read_bytes()
    other.write_bytes(data[:100] + b"x" + data[101:])
    page = Parsed(run("diff", firmware, other, "-f", "html").out)
    assert "1 of 16 pages" in page.text
    assert "none" not in page.text


def test_a_difference_replaces_nothing_that_was_compared(tmp_path: Path) -> None:
    old, new = _guests(tmp_path)
    text = old.read_text()
    (tmp_path / "hello.fd").write_bytes((HELLO.parent / "hello.fd").read_bytes())
    old.write_text(text.replace(str(HELLO.parent / "hello.fd"), "hello.fd"))
    (tmp_path / "plan.json").write_text(run("plan", "-q", new, "-f", "json").out)
    bundle = tmp_path / "bundle"
    assert run("build", "-q", old, "-o", bundle).status == 0
    for second, output in (
        (bundle, bundle / "bundle.json"),
        (bundle, bundle / "inputs" / "firmware.fd"),
        (new, tmp_path / "hello.fd"),
        (new, new),
        (tmp_path / "plan.json", tmp_path / "plan.json"),
    ):
        result = run("diff", "-q", old, second, "-f", "html", "-o", output)
        assert result.status == 2
        assert "it is not replaced" in result.err
    assert run("diff", "-q", old, new, "-f", "html", "-o", tmp_path / "plan.json", "--force").status == 1
