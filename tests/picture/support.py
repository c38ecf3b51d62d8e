"""Updates and guests to draw, and what is found in what was drawn."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as ET

from sevbuild.picture.launches import Update

__all__ = ["NASTY", "PAGES", "SVG", "Parsed", "boxes_of", "root_of", "update"]

NASTY = "</title><script>alert(1)</script>&\"' onload=x \x1b[31m\u202e"
"""A name that would like to be markup, to colour a terminal and to run backwards."""

PAGES = 4096

SVG = "{http://www.w3.org/2000/svg}"


def update(origin: str, page_type: str, page: int, pages: int) -> Update:
    """Return an update of so many pages at this page."""
    return Update(origin, page_type, page * PAGES, pages * PAGES, "", "00" * 48)


def root_of(svg: str) -> ET.Element:
    """Return the root of an SVG element or document."""
    if not svg.startswith("<svg xmlns"):
        svg = svg.replace("<svg", "<svg xmlns='http://www.w3.org/2000/svg'", 1)
    return ET.fromstring(svg)  # noqa: S314 - our own


def boxes_of(svg: str, kind: str) -> list[tuple[float, float]]:
    """Return top and height of each box of a class in the map, without those of the legend."""
    return [
        (float(box.get("y", "")), float(box.get("height", "")))
        for box in root_of(svg).iter(f"{SVG}rect")
        if box.get("class") == kind and box.get("width") != "26"
    ]


class Parsed(HTMLParser):
    """A page as a browser reads it: elements with attributes, the text of all but style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.raw: dict[str, list[str]] = {"style": [], "script": []}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.raw:
            self.raw[self._open[-1]].append(data)
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element of a tag."""
        return [attributes for name, attributes in self.elements if name == tag]

    def ids(self) -> list[str]:
        """Return every identifier in it."""
        return [str(attributes["id"]) for _, attributes in self.elements if "id" in attributes]

    def targets(self) -> set[str]:
        """Return what links, labels and hatching point to within the page."""
        found: set[str] = set()
        for _, attributes in self.elements:
            for name, value in attributes.items():
                if name in ("href", "for", "aria-labelledby", "aria-describedby"):
                    found.update(str(value).removeprefix("#").split())
                elif name == "fill":
                    found.update(re.findall(r"url\(#([^)]*)\)", str(value)))
        return found
