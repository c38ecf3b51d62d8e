"""`html`: release notes as one page that asks for nothing else."""

from __future__ import annotations

from sevbuild.picture.digests import digest_groups, input_list
from sevbuild.picture.markup import escape, heading
from sevbuild.picture.page import page
from sevbuild.reference.export.interface import ALL_MODES, Exporter, ExportOptions
from sevbuild.reference.export.release_notes import Notation, command_lines, release_notes
from sevbuild.reference.model import ReferenceValues

__all__ = ["EXPORTER"]


class Html(Exporter):
    """Inputs, command lines and launch digests as an HTML page; every value is escaped."""

    name = "html"
    summary = "the same as an HTML page"
    files = ("release-notes.html",)
    modes = ALL_MODES

    def render(self, values: ReferenceValues, _options: ExportOptions) -> dict[str, bytes]:
        """Return `release-notes.html`."""
        notes = release_notes(values)
        body = (
            f"{heading(2, 'Verify')}{_block(*notes.verify)}<p>{escape(notes.about_verifying)}</p>\n"
            f"{heading(2, 'Launch digests')}{digest_groups(notes.groups, folded=notes.folded)}"
            f"{command_lines(notes, _NOTATION)}"
        )
        if notes.inputs:
            body += heading(2, "Inputs") + input_list(notes.inputs)
        return {"release-notes.html": page(notes.title, body).encode()}


def _block(*lines: str) -> str:
    # A newline that stands first in <pre> is not shown; none does.
    text = "\n".join(map(escape, lines))
    return f"<pre>{text}</pre>\n"


_NOTATION = Notation(
    heading=lambda text: heading(2, text),
    paragraph=lambda text: f"<p>{escape(text)}</p>\n",
    code=_block,
)

EXPORTER = Html()
