"""Hold what a verb measured to what was published: the one gate behind `--expect` and `--against`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sevbuild.cli.report import print_notices
from sevbuild.errors import MismatchError, Notice, SevbuildError
from sevbuild.reference.expected import Expected, Run, compare_expected
from sevbuild.reference.narrow import Selection

if TYPE_CHECKING:
    from sevbuild.cli.cause import Asking
    from sevbuild.guest.guest import Guest
    from sevbuild.guest.measured import Measured
    from sevbuild.manifest.targets import Target
    from sevbuild.reference.changes import Comparison
    from sevbuild.reference.model import ReferenceValues

__all__ = [
    "WORDS",
    "cause_of_first",
    "guest_run",
    "hold_to_expected",
    "measured_run",
    "target_selection",
    "values_run",
]

WORDS: Mapping[str, str] = {
    "alike": "equal",
    "changed": "different",
    "added": "not published",
    "removed": "not measured",
}
"""What a target is called that was measured and published, or one of both."""

_FORM = "{what}: expected {old}, measured {new}"


def hold_to_expected(
    expect: str,
    run: Run,
    *,
    release: str = "",
    quiet: bool = False,
    flag: str = "--expect",
    asking: Callable[[], Asking] | None = None,
) -> None:
    """Raise MismatchError unless a run is what `expect` says: a digest, or the path of what was published.

    `asking` tells of whom the cause can be asked, where no document says it. Notes on standard error say what
    was not compared, and what is only called otherwise.
    """
    from sevbuild.bundle.published import read_expected

    expected = read_expected(expect, flag)
    comparison = compare_expected(expected, run, release)
    _note(expected, run, comparison, quiet=quiet)
    if comparison.same_launch:
        return
    from sevbuild.cli.comparison import comparison_lines

    raise MismatchError(
        f"what was measured does not match {expected.source}:",
        details=comparison_lines(comparison, WORDS, notes=False, form=_FORM, most=_MOST_SHOWN),
        hint=_hint(comparison, run, asking),
    )


def target_selection(patterns: Sequence[str]) -> Selection:
    """Return what `--target` narrows a run to."""
    return Selection(tuple(patterns), {}, " ".join(f"--target {pattern}" for pattern in patterns))


def guest_run(guest: Guest, measured: Sequence[Measured[Target]], patterns: Sequence[str]) -> Run:
    """Return the run of a manifest, narrowed by `--target`."""

    def values() -> ReferenceValues:
        from sevbuild.reference.collect import collect_values

        return collect_values(guest, measured)

    return measured_run(measured, values, target_selection(patterns))


def measured_run(
    measured: Iterable[Measured[Any]], values: Callable[[], ReferenceValues], selection: Selection
) -> Run:
    """Return the run of what was measured, narrowed by a selection; `values` makes its reference values."""
    return Run([(item.label, item.digest) for item in measured], values, selection)


def values_run(values: ReferenceValues, patterns: Sequence[str] = ()) -> Run:
    """Return the run of values that `--target` narrows still; raises SevbuildError for what takes none."""
    from sevbuild.manifest.selection import select_labels
    from sevbuild.reference.narrow import narrow_values

    select_labels(patterns, [value.label for value in values.values])
    selection = target_selection(patterns)
    narrowed = narrow_values(values, selection)

    def one_release() -> ReferenceValues:
        if values.releases:
            hint = "`sevbuild diff OLD NEW --release VERSION` compares one of them"
            raise SevbuildError("what was measured belongs to several releases", hint=hint)
        return narrowed

    return Run([(value.label, value.digest) for value in narrowed.values], one_release, selection)


def _note(expected: Expected, run: Run, comparison: Comparison, *, quiet: bool) -> None:
    notes = []
    if expected.digest is not None:
        notes.append("only the digest was compared: a document also gives policy, features and every target")
    elif expected.digests is not None:
        notes.append("only labels and digests were compared: a document also gives policy and features")
    elif run.silent:
        notes.append(f"not compared, because what was measured lacks it: {', '.join(run.silent)}")
    found = [Notice("note", expected.source, text) for text in notes]
    if expected.values is not None:
        from sevbuild.cli.comparison import comparison_notices

        found += comparison_notices(comparison, expected.source)
    print_notices(found, quiet=quiet)


def _hint(comparison: Comparison, run: Run, asking: Callable[[], Asking] | None) -> str | None:
    """Return the flags that would take what both sides have, or where to look for what differs."""
    both = [target.label for target in comparison.targets if None not in (target.old, target.new)]
    differ = any(target.status == "changed" for target in comparison.targets)
    if 0 < len(both) < len(comparison.targets) and run.has_targets and not differ:
        import shlex

        from sevbuild.manifest.selection import patterns_for

        patterns = patterns_for(both, [target.label for target in comparison.targets])
        flags = " ".join(f"--target {shlex.quote(pattern)}" for pattern in patterns[:_MOST_FLAGS])
        more = f" and so on, {len(patterns)} in all" if len(patterns) > _MOST_FLAGS else ""
        return f"to compare only a part: {flags}{more}; --set does not narrow"
    return cause_of_first(comparison, asking)


def cause_of_first(comparison: Comparison, asking: Callable[[], Asking] | None) -> str | None:
    """Return why the first target differs of which nothing but the digest is known, None without one."""
    for target in comparison.targets:
        changes = {change.what for change in target.changes}
        if changes & {"launch digest", "nothing but the digest"} and target.old is not None:
            if asking is None:
                return "`sevbuild plan` shows what is launched, step by step"
            from sevbuild.cli.cause import cause_hint

            return cause_hint(asking(), target.label, target.old)
    return None


_MOST_FLAGS = 3
_MOST_SHOWN = 10
"""Of an error, which goes to a log; `verify` and `diff` print all that differs."""
