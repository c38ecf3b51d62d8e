"""Which 4 KiB pages of two files or regions differ, read side by side and held in memory by neither."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sevbuild.diagnose.rules.contents import read_contents
from sevbuild.launch.region_data import Contents

__all__ = ["PageRun", "Pages", "differing_pages", "runs_text"]

_PAGE = 4096
_CHUNK = 1 << 20
_MOST_RUNS = 1000
_SHOWN = 8


class PageRun(NamedTuple):
    """Pages that follow one another: offsets in bytes, `end` not included."""

    start: int
    end: int


class Pages(NamedTuple):
    """Which pages differ: how many of how many, and the first runs of them."""

    differ: int
    of: int
    runs: tuple[PageRun, ...]


def differing_pages(old: Contents, new: Contents, skip: tuple[int, int] = (0, 0)) -> Pages:
    """Return which pages of the bytes that both have differ; the last of them may be part of a page.

    `skip` is how many bytes of each come before what is compared; offsets count from there. What one has in
    addition is not counted.
    """
    size = max(0, min(len(old) - skip[0], len(new) - skip[1]))
    runs: list[PageRun] = []
    count = 0
    for start in range(0, size, _CHUNK):
        end = min(start + _CHUNK, size)
        pieces = [
            read_contents(side, first + start, first + end)
            for side, first in zip((old, new), skip, strict=True)
        ]
        if pieces[0] == pieces[1]:
            continue
        one, other = (memoryview(piece) for piece in pieces)
        for at in range(0, end - start, _PAGE):
            if one[at : at + _PAGE] != other[at : at + _PAGE]:
                count += 1
                _add(runs, start + at)
    return Pages(count, -(-size // _PAGE), tuple(runs))


def runs_text(runs: Iterable[PageRun], base: int = 0, count: int | None = None) -> str:
    """Return runs in words, `base` added to each offset: the first of them, and that there are more.

    `count` is how many pages there are in all, where the runs may not be all.
    """
    listed = list(runs)
    texts = [
        f"{base + run.start:#x}" + (f"-{base + run.end - 1:#x}" if run.end - run.start > _PAGE else "")
        for run in listed[:_SHOWN]
    ]
    shown = sum((run.end - run.start) // _PAGE for run in listed[:_SHOWN])
    left = (count or sum((run.end - run.start) // _PAGE for run in listed)) - shown
    return ", ".join(texts) + (f" and {left} more" if left else "")


def _add(runs: list[PageRun], at: int) -> None:
    if runs and runs[-1].end == at:
        runs[-1] = PageRun(runs[-1].start, at + _PAGE)
    elif len(runs) < _MOST_RUNS:
        runs.append(PageRun(at, at + _PAGE))
