"""Two launches side by side: every step of both, and the one where they part marked, in words too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sevbuild.diagnose.differences.model import Cause, Compared, Detail, Difference, Launches, Step, StepSide
from sevbuild.diagnose.drawn import difference_picture
from sevbuild.picture.comparison_page import ComparisonPicture, Part, comparison_maps, comparison_page
from sevbuild.picture.two_launches import Pair, Side, TwoLaunches
from tests.picture.support import NASTY, Parsed, boxes_of, root_of, update
from tests.support.cli import run
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
        Pair(_side(7, "a7"), _side(8, "b8"), ("gpa", "length", "data"), (("rdx", "0x1", "0x2"),)),
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
    assert "2 steps alike in both" in rows[1]
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
    assert "2 steps alike in both" in text


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
        "digest",
        None,
        "new",
        ("a:1", ""),
        (Detail("rdx", "0x1", None, "the CPU"),),
        ("snp/x",),
    )
    launches = Launches(
        ("snp/x", "snp/x"),
        (b"\1" * 48, b"\2" * 48),
        (Step(_step(0, 1), _step(0, 1)), Step(_step(1, 2), None), Step(None, _step(1, 3, contents=None))),
        1,
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
    picture = difference_picture(found)
    assert picture.lead == "The launch digest is another. 2 targets"
    assert [part.title for part in picture.parts] == ["VMSA 0", "Only in the old one", "Not compared"]
    assert picture.parts[0].lines == ("none → new", "a:1", "of snp/x")
    assert picture.parts[0].rows == (("rdx", "0x1", "none", "the CPU"),)
    (drawn,) = picture.launches
    assert drawn.names == ("old snp/x", "new snp/x")
    assert (drawn.parting, [pair.first is None for pair in drawn.pairs]) == (1, [False, False, True])
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


@pytest.mark.slow
def test_an_answer_without_an_explanation_has_no_map(tmp_path: Path) -> None:
    words = ["explain", "-q", HELLO, "00" * 48, "--budget", "0.2"]
    result = run(*words, "-f", "html")
    assert result.status == 1
    page = Parsed(result.out)
    for title in ("Excluded", "Not covered", "What to get next", "What was tried"):
        assert title in page.text
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
