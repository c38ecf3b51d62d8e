"""The memory map: regions by origin and page type, told apart without colour, in words as well."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.launch.page_type import PageType
from sevbuild.picture.colours import ORIGINS, PATTERNS, origin_of
from sevbuild.picture.memory_map import map_picture, size_text, standalone_map
from tests.picture.support import NASTY, SVG, boxes_of, root_of, update

UPDATES = [
    update("firmware", "normal", 0xFFFF0, 16),
    update("section 0 (snp-sec-mem)", "zero", 0x800, 9),
    update("section 2 (snp-secrets)", "secrets", 0x80D, 1),
    update("section 3 (cpuid)", "cpuid", 0x80E, 1),
    update("section 4 (kernel-hashes)", "normal", 0x810, 1),
    update("vmsa 0", "vmsa", 0xFFFFFFFFF, 1),
    update("vmsa 1", "vmsa", 0xFFFFFFFFF, 1),
]


def _texts(svg: str) -> list[str]:
    return [text.text or "" for text in root_of(svg).iter(f"{SVG}text")]


def test_regions_are_drawn_to_scale_by_origin() -> None:
    svg = standalone_map([(UPDATES, "a map", None)])
    assert [height for _, height in boxes_of(svg, "o-section")] == [72.0, 8.0, 8.0]
    assert [height for _, height in boxes_of(svg, "o-firmware")] == [128.0]
    assert [height for _, height in boxes_of(svg, "o-kernel-hashes")] == [8.0]
    assert [height for _, height in boxes_of(svg, "o-vmsa")] == [8.0]
    tops = [top for kind in ("o-section", "o-firmware", "o-vmsa") for top, _ in boxes_of(svg, kind)]
    assert tops == sorted(tops)
    assert "2 VMSAs" in _texts(svg)
    assert "0x800000: 36 KiB, zero" in _texts(svg)
    assert "16 KiB not launched" in _texts(svg)
    assert "about 4 GiB not launched" in _texts(svg)


def test_page_types_are_told_apart_without_colour() -> None:
    """Each has hatching of its own; what has none is the contents that everything is about."""
    assert {kind.label for kind in PageType} | {"data"} == set(PATTERNS)
    strokes = [pattern.strokes for name, pattern in PATTERNS.items() if name != "data"]
    assert len(set(strokes)) == len(strokes)
    svg = standalone_map([(UPDATES, "a map", None)])
    patterns = {pattern.get("id") for pattern in root_of(svg).iter(f"{SVG}pattern")}
    assert patterns == {f"map0-{name}" for name in ("vmsa", "zero", "secrets", "cpuid")}
    for name in ("zero", "secrets", "cpuid", "vmsa"):
        # One box of the legend, and one at least of the map.
        assert svg.count(f"url(#map0-{name})") >= 2


def _luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_every_colour_stands_out_from_its_edge() -> None:
    for shade, ink in (("light", "#1b1f24"), ("dark", "#e6edf3")):
        for origin in ORIGINS.values():
            low, high = sorted((_luminance(getattr(origin, shade)), _luminance(ink)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, origin.says


@pytest.mark.parametrize(
    ("origin", "page_type", "kind"),
    [
        ("firmware", "data", "firmware"),
        ("svsm", "normal", "svsm"),
        ("section 7 (cpuid)", "cpuid", "section"),
        ("section 7 (kernel-hashes)", "normal", "kernel-hashes"),
        ("kernel-hashes page", "normal", "kernel-hashes"),
        ("page data", "normal", "file"),
        ("vp context 0", "vmsa", "vmsa"),
        ("reset state 3", "vmsa", "vmsa"),
        ("snp_launch_update", "normal", "other"),
    ],
)
def test_where_regions_come_from(origin: str, page_type: str, kind: str) -> None:
    assert origin_of(origin, page_type) == kind
    assert kind in ORIGINS


def test_a_map_is_told_in_words() -> None:
    svg = map_picture(UPDATES, "Memory map of hello", "m")
    assert 'role="img" aria-labelledby="m-title m-desc"' in svg
    assert '<title id="m-title">Memory map of hello</title>' in svg
    described = svg.partition('<desc id="m-desc">')[2].partition("</desc>")[0]
    assert described.startswith(
        "From the lowest address to the highest: section 0 (snp-sec-mem): 0x800000 to"
    )
    assert described.endswith("firmware: 0xffff0000 to 0xffffffff, 64 KiB, normal; 2 VMSAs: 0xfffffffff000 to 0xfffffffffff"
                              "f, 4 KiB, vmsa.")  # fmt: skip
    assert "nothing is launched" in standalone_map([([], "nothing", None)])


def test_names_are_text_whatever_they_are() -> None:
    updates = [update(NASTY * 9, NASTY, 1, 1)]
    for svg in (standalone_map([(updates, NASTY, None)]), map_picture(updates, NASTY, "m")):
        root = root_of(svg)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            "svg", "style", "rect", "g", "title", "desc", "path", "text",
        }  # fmt: skip
        assert r"</title><script>alert(1)</script>" in "".join(root.itertext())
        assert "\x1b" not in svg
        assert "\u202e" not in svg
    # A name that is longer than its place ends in an ellipsis; its title has the whole of it.
    assert any(line.endswith("…") for line in _texts(standalone_map([(updates, "a map", None)])))


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_name_is_well_formed(origin: str, title: str) -> None:
    """Also what XML cannot hold at all."""
    svg = standalone_map([([update(f"{origin}\ufffe\uffff", "zero", 1, 1)], f"{title}\ud800", None)])
    said = "".join(root_of(svg).itertext())
    assert r"\ufffe\uffff" in said
    svg.encode()


def test_labels_do_not_lie_on_one_another() -> None:
    lines = [
        float(text.get("y", ""))
        for text in root_of(standalone_map([(UPDATES, "a map", None)])).iter(f"{SVG}text")
        if text.get("x") == "110"
    ]
    assert all(later - earlier >= 15.9 for earlier, later in pairwise(lines))


def test_maps_of_several_launches_stand_below_one_another() -> None:
    one, two = (
        standalone_map([(UPDATES, "one", None)]),
        standalone_map([(UPDATES, "one", None), (UPDATES[:1], "two", None)]),
    )
    height = [float(root_of(svg).get("height", "")) for svg in (one, two)]
    assert height[1] > height[0] + 128
    assert 'aria-labelledby="map0-title map0-desc map1-title map1-desc"' in two


def test_sizes_are_said_in_the_largest_unit() -> None:
    assert [size_text(length) for length in (0, 1, 0xB0, 4096, 4 << 20, 3 << 30, 1 << 40, 4097)] == [
        "0 bytes", "1 byte", "176 bytes", "4 KiB", "4 MiB", "3 GiB", "1 TiB", "4097 bytes",
    ]  # fmt: skip
