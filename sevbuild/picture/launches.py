"""What pictures are drawn from: launches as plain values, nothing of which is computed here."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Area", "Launch", "Register", "SaveArea", "Target", "Update"]


class Update(NamedTuple):
    """One launch update as a plan shows it.

    `page_type` is the word of plans: `data` and `vmsa` where the mode has no page types. `gpa` and `length`
    are bytes. `contents` and `digest` are hexadecimal; `contents` is empty where they are not measured.
    """

    origin: str
    page_type: str
    gpa: int
    length: int
    contents: str
    digest: str


class Register(NamedTuple):
    """One field of a VMSA: name, value as text, what gave it the value, and the source of that."""

    name: str
    value: str
    origin: str
    source: str = ""


class SaveArea(NamedTuple):
    """The fields of the VMSAs that `title` names, such as `vmsa 1 to 3`, by ascending offset."""

    title: str
    registers: tuple[Register, ...]


class Launch(NamedTuple):
    """A launch; `facts` are names and texts, `seed` is hexadecimal, empty where there is none."""

    facts: tuple[tuple[str, str], ...]
    seed: str
    updates: tuple[Update, ...]
    save_areas: tuple[SaveArea, ...]


class Target(NamedTuple):
    """A target, whose launch is the first `steps` updates of a launch, given by its index.

    `name` is what tells it from the others of its `group`, and `facts` what it shares with some of them.
    `digest` is hexadecimal.
    """

    label: str
    group: str
    name: str
    facts: str
    digest: str
    launch: int
    steps: int


class Area(NamedTuple):
    """Addresses of a map: updates that lie next to each other, alike in origin and page type.

    `updates` says how many these are.
    """

    origin: str
    page_type: str
    gpa: int
    length: int
    updates: int = 1

    @property
    def end(self) -> int:
        """Return the first GPA after it."""
        return self.gpa + self.length
