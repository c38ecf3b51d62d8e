"""Placeholders in a command line: `{name}` stands for a value, `{{` and `}}` for braces."""

from __future__ import annotations

from collections.abc import Mapping

from sevbuild.errors import SevbuildError
from sevbuild.vcpu.models import signature_text

__all__ = ["BUILT_IN", "Template", "escape", "parse_template", "target_values"]

BUILT_IN = ("vcpus", "cpu", "cpu_signature")
"""What every target provides: the vCPU count, the CPU label, the vCPU signature as `0x00a00f11`."""


class Template:
    """A command line split at its placeholders."""

    __slots__ = ("_pieces", "names")

    def __init__(self, pieces: list[tuple[str, str | None]]) -> None:
        self._pieces = pieces
        self.names = frozenset(name for _, name in pieces if name is not None)

    @property
    def text(self) -> str:
        """Return a text that parses to this template."""
        return "".join(
            escape(literal) + ("" if name is None else f"{{{name}}}") for literal, name in self._pieces
        )

    def size(self, values: Mapping[str, str]) -> int:
        """Return how many characters `fill` would return."""
        return sum(len(text) + (0 if name is None else len(values[name])) for text, name in self._pieces)

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the command line with each placeholder replaced; every name must have a value."""
        return "".join(text if name is None else text + values[name] for text, name in self._pieces)

    def bind(self, values: Mapping[str, str]) -> str:
        """Return the template with these placeholders replaced and all others left."""
        return "".join(
            escape(text)
            if name is None
            else escape(text) + (escape(values[name]) if name in values else f"{{{name}}}")
            for text, name in self._pieces
        )


def target_values(cpu: str, signature: int, vcpus: int) -> dict[str, str]:
    """Return what a target gives for the placeholders of BUILT_IN."""
    return {"vcpus": str(vcpus), "cpu": cpu, "cpu_signature": signature_text(signature)}


def escape(text: str) -> str:
    """Return a template that stands for `text` itself: its braces are doubled."""
    return text.replace("{", "{{").replace("}", "}}")


def parse_template(text: str) -> Template:
    """Return the template in `text`; raises SevbuildError for a brace that is none of a placeholder's."""
    if "{" not in text and "}" not in text:
        return Template([(text, None)])
    pieces: list[tuple[str, str | None]] = []
    literal = ""
    at = 0
    while at < len(text):
        char = text[at]
        if char not in "{}":
            end = min(
                (found for found in (text.find("{", at), text.find("}", at)) if found >= 0), default=len(text)
            )
            literal += text[at:end]
            at = end
        elif text[at : at + 2] in ("{{", "}}"):
            literal += char
            at += 2
        else:
            end = text.find("}", at)
            name = text[at + 1 : end]
            if char == "}" or end < 0 or not name.isidentifier():
                raise SevbuildError(
                    f"character {at + 1} is a stray brace",
                    hint="a placeholder is {name}; write a literal brace twice",
                )
            pieces.append((literal, name))
            literal = ""
            at = end + 1
    pieces.append((literal, None))
    return Template(pieces)
