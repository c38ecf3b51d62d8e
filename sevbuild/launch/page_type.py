"""The page types of SNP_LAUNCH_UPDATE."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "MEASURED_CONTENTS",
    "PAGE_SIZE",
    "SECTION_PAGE_TYPES",
    "PageType",
    "page_type_named",
    "page_type_word",
]

PAGE_SIZE = 4096


class PageType(IntEnum):
    """The page types by their number in the command buffer and in PAGE_INFO (SNP ABI 8.17).

    SEV and SEV-ES know no page types: there NORMAL stands for LAUNCH_UPDATE_DATA and VMSA for
    LAUNCH_UPDATE_VMSA.
    """

    NORMAL = 1
    VMSA = 2
    ZERO = 3
    UNMEASURED = 4
    SECRETS = 5
    CPUID = 6

    @property
    def label(self) -> str:
        """Return the name as manifests, profiles and JSON spell it."""
        return self.name.lower()


MEASURED_CONTENTS = frozenset({PageType.NORMAL, PageType.VMSA})
"""The types whose bytes enter CONTENTS; of the others only type and GPA are measured (SNP ABI 8.17.2)."""

_REFUSE = "refuse"

SECTION_PAGE_TYPES = (*(kind.label for kind in PageType if kind is not PageType.VMSA), _REFUSE)
"""What becomes of a firmware's section, in the words of profiles and JSON: a page type, or a refusal."""

_BY_LABEL = {kind.label: kind for kind in PageType}


def page_type_named(label: str) -> PageType | None:
    """Return the page type a profile spells `label`, or None."""
    return _BY_LABEL.get(label)


def page_type_word(page_type: PageType | None) -> str:
    """Return the word of SECTION_PAGE_TYPES for a page type, None for a section that is refused."""
    return _REFUSE if page_type is None else page_type.label
