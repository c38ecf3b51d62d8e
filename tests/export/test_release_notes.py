"""Release notes: everything that is said is shown, as it is, and they fit where they are published."""

from __future__ import annotations

import shlex
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from sevbuild.picture.script import SCRIPT
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.markdown import LIMIT
from sevbuild.reference.export.registry import exporter
from sevbuild.reference.model import Span
from sevbuild.text import visible
from tests.export.support import document, rendered, typed
from tests.support.cli import run
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

NASTY = "<script>alert('&\"')</script> | `x` *b* $(id)"
TAGS = {"h1", "h2", "p", "ul", "li", "br", "code", "pre", "details", "summary", "b"}
PAGE_TAGS = {"html", "head", "meta", "title", "style", "body", "main", "section", "h3", "script"}
TOOL_TAGS = {"div", "label", "input", "span"}


class _Page(HTMLParser):
    """Collect the tags of a page, the text of each block, and of each piece of code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts = [""]
        self.code: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        del attrs
        self.tags.add(tag)
        self._open.append(tag)
        if tag in ("code", "pre") and "pre" not in self._open[:-1]:
            self.code.append("")
        if tag not in ("code", "strong", "b"):
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            self.scripts.append(data)
            return
        self.texts[-1] += data
        if {"code", "pre"} & set(self._open):
            self.code[-1] += data

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass


def _html(of: dict[str, Any]) -> _Page:
    return _Page(rendered("html", of)["release-notes.html"].decode())


def _markdown(of: dict[str, Any]) -> _Page:
    return _Page(MarkdownIt("commonmark").render(rendered("markdown", of)["release-notes.md"].decode()))


def _many(count: int, **more: Any) -> dict[str, Any]:
    """Return a document of `count` targets, 64 vCPU counts to a CPU."""
    of = document("matrix")
    value = {**of["values"][0], **more}
    of["values"] = [
        {
            **value,
            "label": f"snp/qemu/CPU-{index // 64}/vcpus{index % 64 + 1}",
            "vcpus": index % 64 + 1,
            "digest": f"{index:096x}",
        }
        for index in range(count)
    ]
    return of


@pytest.mark.parametrize("count", [4, 20])
@pytest.mark.parametrize("show", [_html, _markdown])
def test_everything_is_shown_and_nothing_acts(show: Any, count: int) -> None:
    """What is folded is HTML within Markdown: the same text must come out of both."""
    of = _many(count, cmdline=NASTY)
    of["guest"]["version"] = of["inputs"][0]["name"] = NASTY
    of["values"][0]["label"] = f"a_b/vcpus1/{NASTY}"
    page = show(of)
    assert page.tags <= TAGS | PAGE_TAGS | TOOL_TAGS | {"strong"}
    assert page.scripts == ([SCRIPT] if show is _html else [])
    assert ("details" in page.tags) == (count > 16)
    said = [text.strip() for text in page.texts]
    assert f"matrix {NASTY}" in said
    assert any(text.startswith(f"firmware {NASTY}, ") for text in said)
    assert any(text.startswith(f"a_b/vcpus1/{NASTY}") for text in said)
    assert NASTY in page.code
    assert {value["digest"] for value in of["values"]} <= set(page.code)


def test_a_page_is_for_a_telephone_too() -> None:
    text = rendered("html", document("matrix"))["release-notes.html"].decode()
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text
    assert "overflow-wrap:anywhere" in text
    for name in ("html", "markdown"):
        (file,) = rendered(name, document("matrix")).values()
        page = _Page(MarkdownIt("commonmark").render(file.decode()) if name == "markdown" else file.decode())
        # A table would be wider than the screen; so would a long line in a block of Markdown.
        assert "table" not in page.tags
        assert max(map(len, page.code[0].splitlines())) < 42


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_a_command_line_reads_back_from_markdown(line: str) -> None:
    of = document("hardware")
    of["values"][0]["cmdline"] = line
    page = _markdown(of)
    shown = page.code[2] if line else ""
    assert shown == visible(line)
    assert (line != "") or "The empty line." in [text.strip() for text in page.texts]


def test_command_lines_say_whose_they_are() -> None:
    of = document("matrix")
    page = _markdown(of)
    assert {"console=ttyS0 it's quiet", "maxcpus=1", "maxcpus=2"} <= set(page.code)
    assert "snp/qemu/EPYC-v4/vcpus1/plain and 3 more targets:" in [text.strip() for text in page.texts]
    for value in of["values"]:
        value["cmdline"] = "x" * 5000
    text = rendered("markdown", of)["release-notes.md"].decode()
    assert "Too long to be shown: reference-values.json has them." in text
    of["values"] += deepcopy(of["values"])
    for index, value in enumerate(of["values"]):
        value.update(cmdline=f"line {index}", label=f"{value['label']}-{index}")
    assert (
        "And 8 more: reference-values.json has them." in rendered("html", of)["release-notes.html"].decode()
    )
    for value in of["values"]:
        value["cmdline"] = None
    assert "Command line" not in rendered("markdown", of)["release-notes.md"].decode()


@pytest.mark.slow
@pytest.mark.parametrize("count", [960, 1200, 20_000])
def test_notes_fit_the_body_of_a_release(count: int) -> None:
    of = _many(count)
    (data,) = rendered("markdown", of).values()
    assert len(data) <= LIMIT == 125_000
    shown = data.decode().count("vCPU")
    notes = exporter("markdown").notes(typed(of), ExportOptions())
    if count == 960:
        assert (shown, notes) == (960, [])
        return
    assert 900 < shown < count
    assert f"And {count - shown} more targets: reference-values.json has them." in data.decode()
    assert notes == [f"{count - shown} launch digests do not fit in 125000 characters"]


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["n", "\N{SNOWMAN}", "\N{RIGHT-TO-LEFT OVERRIDE}", "*"])
def test_notes_of_long_names_fit_too(letter: str) -> None:
    of = _many(2_000)
    of["guest"]["version"] = "9" * 200_000
    of["inputs"] += [{**of["inputs"][0], "name": f"{index}-" + letter * 500} for index in range(500)]
    for index, value in enumerate(of["values"]):
        value["label"] = f"{index}/" + letter * 300
        value["cmdline"] = f"{index}" + letter * 4000
    (data,) = rendered("markdown", of).values()
    assert len(data) <= LIMIT
    assert "more: reference-values.json has them" in data.decode()


def test_the_commands_in_the_notes_work(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, firmware={"path": str(ROOT / "guests" / "hello" / "hello.fd")})
    assert run("publish", "-q", manifest, "-o", tmp_path / "release").status == 0
    notes = (tmp_path / "release" / "release-notes.md").read_text()
    block = notes.partition("```sh\n")[2].partition("```")[0].replace("\\\n", "")
    sums, verify = [shlex.split(line) for line in block.splitlines()]
    assert sums == ["sha256sum", "--check", "SHA256SUMS"]
    assert verify[0] == "sevbuild"
    places = {"reference-values.json": tmp_path / "release" / "reference-values.json", "guest.toml": manifest}
    assert run(*(places.get(word, word) for word in verify[1:])).status == 0


def test_titles_say_which_releases_a_digest_belongs_to() -> None:
    values = typed(document("matrix"))
    first = values.values[0]._replace(releases=(Span("1", "1"), Span("3", "4")))
    text = rendered("html", values._replace(values=(first, *values.values[1:])))
    assert f"{first.label} (1, 3 to 4)" in text["release-notes.html"].decode()


def test_how_a_report_is_compared_depends_on_the_mode() -> None:
    for name, snp, sev in (("matrix", True, False), ("owner", False, True)):
        text = rendered("markdown", document(name))["release-notes.md"].decode()
        assert ("MEASUREMENT and POLICY" in text, "an HMAC" in text) == (snp, sev)


def test_an_igvm_file_is_measured_again_by_itself() -> None:
    values = typed(document("matrix"))._replace(name="guest.igvm", version=None)
    text = rendered("markdown", values)["release-notes.md"].decode()
    assert text.startswith("# guest.igvm\n")
    assert "sevbuild measure guest.igvm \\\n  --expect reference-values.json\n" in text
    assert "guest.toml" not in text
