"""The memory map of a launch as SVG: what is launched where, by origin and page type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sevbuild.launch.page_type import PAGE_SIZE
from sevbuild.picture.colours import MAP_STYLE, ORIGINS, PATTERNS, origin_of
from sevbuild.picture.launches import Area, Update
from sevbuild.picture.markup import escape
from sevbuild.picture.scale import PAGE_HEIGHT, Block, areas_of, laid_out, spread
from sevbuild.text import counted, visible

__all__ = ["map_picture", "size_text", "standalone_map"]

_WIDTH = 400
_BAR = 6.0
_BAR_WIDTH = 78.0
_ELBOW, _END = 90.0, 104.0
_TEXT = 110.0
_LINE = 16.0
_MARGIN = 8.0
# The letters that fit in one line: beside the bar, and over the whole width.
_LETTERS, _WHOLE_LINE = 42, 56


def map_picture(updates: Sequence[Update], title: str, prefix: str, marked: Update | None = None) -> str:
    """Return the `<svg>` element of a map, for a page that has MAP_STYLE in its style sheet.

    `prefix` begins the identifiers in it, and must be another one for each map of a page. `marked` is the
    update at which this launch parts from another one.
    """
    body, height = _drawn(updates, title, prefix, marked)
    size = f'width="{_WIDTH}" height="{_number(height)}" viewBox="0 0 {_WIDTH} {_number(height)}"'
    label = f'role="img" aria-labelledby="{prefix}-title {prefix}-desc"'
    return f'<svg class="map" {size} {label}>\n{body}</svg>\n'


def standalone_map(maps: Iterable[tuple[Sequence[Update], str, Update | None]]) -> str:
    """Return an SVG document of maps, one below the other: of each the title, and what is marked or None."""
    drawn, ids, top = [], [], 0.0
    for index, (updates, title, marked) in enumerate(maps):
        prefix = f"map{index}"
        body, height = _drawn(updates, title, prefix, marked, titled=True)
        drawn.append(f'<g transform="translate(0 {_number(top)})">\n{body}</g>\n')
        ids.append(f"{prefix}-title {prefix}-desc")
        top += height + 2 * _MARGIN
    height = max(top - 2 * _MARGIN, _MARGIN)
    size = f'width="{_WIDTH}" height="{_number(height)}" viewBox="0 0 {_WIDTH} {_number(height)}"'
    label = f'role="img" aria-labelledby="{" ".join(ids)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="map" {size} {label}>\n<style>{MAP_STYLE}</style>\n'
        f'<rect class="paper" width="{_WIDTH}" height="{_number(height)}"/>\n{"".join(drawn)}</svg>\n'
    )


def size_text(length: int) -> str:
    """Return a number of bytes in the largest unit of which it is a whole number."""
    for bits, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if length and not length % (1 << bits):
            return f"{length >> bits} {unit}"
    return counted(length, "byte")


def _drawn(
    updates: Sequence[Update], title: str, prefix: str, marked: Update | None, *, titled: bool = False
) -> tuple[str, float]:
    """Return the elements of a map and its height; with `titled`, the title can be seen as well."""
    areas = areas_of(updates)
    blocks = laid_out(areas)
    texts = [_said(block, marked) for block in blocks]
    heights = [len(lines) * _LINE + 4 for lines in texts]
    places = spread([block.top + block.height / 2 for block in blocks], heights)
    ends = [block.top + block.height for block in blocks]
    ends += [at + height / 2 for at, height in zip(places, heights, strict=True)]
    head, top = _lines(_wrapped(title, _WHOLE_LINE) if titled else [], _MARGIN)
    top += _MARGIN * titled
    drawn = "".join(
        _block(block, lines, at, prefix, marked=_holds(block.area, marked))
        for block, lines, at in zip(blocks, texts, places, strict=True)
    )
    legend, height = _legend(areas, prefix, top + max(ends, default=0.0) + 2 * _MARGIN)
    names = (
        f'<title id="{prefix}-title">{escape(title)}</title>\n'
        f'<desc id="{prefix}-desc">{escape(_description(areas))}</desc>\n'
    )
    axis = f'<g transform="translate(0 {_number(top)})">\n{drawn}</g>\n'
    return f"{names}{_patterns(areas, prefix)}{head}{axis}{legend}", height


def _block(block: Block, lines: Sequence[str], at: float, prefix: str, *, marked: bool) -> str:
    """Return one stretch of the axis with what is said of it; `at` is the middle of the text."""
    box = _box(block.top, block.height)
    shapes, whole = f'<rect class="gap" {box}/>', ""
    if block.area is not None:
        shapes = _filled(block.area, box, prefix)
        whole = f"<title>{escape(_sentence(block.area))}</title>"
    if block.broken:
        shapes += _tear(block.top + block.height / 2)
    if marked:
        shapes += f'<rect class="mark" {_box(block.top - 2.5, block.height + 5)}/>'
    middle = _number(block.top + block.height / 2)
    lead = f"M{_number(_BAR + _BAR_WIDTH)} {middle}H{_number(_ELBOW)}L{_number(_END)} {_number(at)}"
    first = at - len(lines) * _LINE / 2 + 12
    texts = "".join(
        f"<text{_small(bool(index) or block.area is None)} {_point(_TEXT, first + index * _LINE)}>"
        f"{escape(line)}</text>"
        for index, line in enumerate(lines)
    )
    return f'<g>{whole}{shapes}<path class="lead" d="{lead}"/>{texts}</g>\n'


def _filled(area: Area, box: str, prefix: str) -> str:
    """Return a box in the colour of its origin, hatched as its page type."""
    shapes = f'<rect class="o-{origin_of(area.origin, area.page_type)}" {box}/>'
    if area.page_type in PATTERNS and PATTERNS[area.page_type].strokes:
        shapes += f'<rect fill="url(#{prefix}-{area.page_type})" {box}/>'
    return f'{shapes}<rect class="edge" {box}/>'


def _tear(middle: float) -> str:
    """Return the mark of a break across the bar: what is there is longer than it is drawn."""
    left, step = _BAR - 3, (_BAR_WIDTH + 6) / 12
    upper = [(left + index * step, middle - 4 + 4 * (index % 2) - 2) for index in range(13)]
    lower = [(x, y + 7) for x, y in reversed(upper)]
    edge = "".join(f"{'L' if index else 'M'}{_number(x)} {_number(y)}" for index, (x, y) in enumerate(upper))
    back = "".join(f"{'L' if index else 'M'}{_number(x)} {_number(y)}" for index, (x, y) in enumerate(lower))
    band = f"{edge}{back.replace('M', 'L', 1)}Z"
    return f'<path class="tear" d="{band}"/><path class="edge" d="{edge}{back}"/>'


def _holds(area: Area | None, marked: Update | None) -> bool:
    """Tell whether a marked update lies in an area."""
    if area is None or marked is None or area.page_type != marked.page_type:
        return False
    if area.page_type != "vmsa" and area.origin != marked.origin:
        return False
    return area.gpa <= marked.gpa < max(area.end, area.gpa + 1)


def _said(block: Block, marked: Update | None) -> list[str]:
    """Return the lines beside a stretch of the axis."""
    area = block.area
    if area is None:
        return [f"{_rough(block.pages * PAGE_SIZE)} not launched"]
    several = f"{area.updates} in " if area.updates > 1 and area.page_type != "vmsa" else ""
    size = "a page each" if area.updates > 1 and area.page_type == "vmsa" else size_text(area.length)
    place = f"{area.gpa:#x}: {several}{size}, {area.page_type}"
    return [*_wrapped(_name(area), _LETTERS), place, *["the launches part here"] * _holds(area, marked)]


def _rough(length: int) -> str:
    """Return the size of a gap as one reads it: of a large one, two digits or more say enough."""
    for bits, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB")):
        if length >> bits:
            tenths = (length * 10 + (1 << bits - 1)) >> bits
            return f"{'' if tenths << bits == length * 10 else 'about '}{tenths / 10:g} {unit}"
    return size_text(length)


def _name(area: Area) -> str:
    return f"{area.updates} VMSAs" if area.page_type == "vmsa" and area.updates > 1 else visible(area.origin)


def _sentence(area: Area) -> str:
    last = area.gpa + max(area.length, 1) - 1
    return f"{_name(area)}: {area.gpa:#x} to {last:#x}, {size_text(area.length)}, {area.page_type}"


def _description(areas: Sequence[Area]) -> str:
    """Return the map in words, for who does not see it."""
    said = "; ".join(map(_sentence, areas)) or "nothing is launched"
    return f"From the lowest address to the highest: {said}."


def _patterns(areas: Sequence[Area], prefix: str) -> str:
    """Return the hatching of the page types that a map has."""
    found = "".join(
        f'<pattern id="{prefix}-{name}" class="hatch" width="8" height="8" patternUnits="userSpaceOnUse">'
        f'<path d="{pattern.strokes}"/></pattern>'
        for name, pattern in PATTERNS.items()
        if pattern.strokes and any(area.page_type == name for area in areas)
    )
    return f"<defs>{found}</defs>\n" if found else ""


def _legend(areas: Sequence[Area], prefix: str, top: float) -> tuple[str, float]:
    """Return what colours and hatching stand for, what the scale is, and where that ends."""
    rows = []
    has = {origin_of(area.origin, area.page_type) for area in areas}
    for name, origin in ORIGINS.items():
        if name in has:
            rows.append((f'class="o-{name}"', "", origin.says))
    types = {area.page_type for area in areas}
    for name, pattern in PATTERNS.items():
        if name in types:
            hatch = f"{prefix}-{name}" if pattern.strokes else ""
            rows.append(('class="paper"', hatch, f"{name}: {pattern.says}"))
    parts = []
    for fill, hatch, says in rows:
        box = f'x="{_number(_BAR)}" y="{_number(top + 2)}" width="26" height="12"'
        hatched = f'<rect fill="url(#{hatch})" {box}/>' if hatch else ""
        parts.append(f'<g><rect {fill} {box}/>{hatched}<rect class="edge" {box}/>')
        lines, top = _lines(_wrapped(says, _WHOLE_LINE), top, x=_BAR + 34)
        parts.append(f"{lines}</g>\n")
        top += 2
    scale = (
        f"{PAGE_HEIGHT:g} px a page of 4 KiB; addresses ascend downwards. "
        "A torn band stands for what is too long to be drawn to scale."
    )
    lines, top = _lines(_wrapped(scale, _WHOLE_LINE + 4), top + 4)
    return f"<g>{''.join(parts)}{lines}</g>\n", top + _MARGIN


def _lines(lines: Sequence[str], top: float, x: float = _BAR) -> tuple[str, float]:
    """Return small lines of text from `top` downwards, and where they end."""
    drawn = "".join(
        f"<text{_small(True)} {_point(x, top + index * _LINE + 12)}>{escape(line)}</text>\n"
        for index, line in enumerate(lines)
    )
    return drawn, top + len(lines) * _LINE


def _wrapped(text: str, letters: int) -> list[str]:
    """Return text in lines of at most so many letters, at most four, broken at blanks where there are any."""
    from textwrap import wrap

    lines = wrap(visible(text), letters) or [""]
    return lines if len(lines) <= 4 else [*lines[:3], f"{lines[3][: letters - 1]}…"]


def _box(top: float, height: float) -> str:
    x, width = _number(_BAR), _number(_BAR_WIDTH)
    return f'x="{x}" y="{_number(top)}" width="{width}" height="{_number(height)}"'


def _point(x: float, y: float) -> str:
    return f'x="{_number(x)}" y="{_number(y)}"'


def _small(small: bool) -> str:
    return ' class="small"' if small else ""


def _number(value: float) -> str:
    """Return a coordinate with a tenth of a pixel, the same on every machine."""
    return f"{round(value * 10) / 10:g}"
