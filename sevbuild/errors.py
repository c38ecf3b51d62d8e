"""The one exception base, and the two shapes of complaint that reach a person."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "Fault",
    "FaultsError",
    "MismatchError",
    "Notice",
    "SevbuildError",
    "file_error",
    "file_errors",
    "within",
]


class SevbuildError(Exception):
    r"""A request, manifest or input at fault: one line, and a hint where there is one.

    The command line prints it and exits with `exit_code`; a library caller catches it. `details` are further
    lines, below the message: a line end within message or detail is of a name, and shown as `\n`.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None, details: Sequence[str] = ()) -> None:
        super().__init__("\n  ".join([message, *details]))
        self.message = message
        self.hint = hint
        self.details = tuple(details)

    def within(self, where: str, *, hint: str | None = None) -> Self:
        """Return the same error said of `where`: its class and all it carries stay, a hint or a status.

        `hint` is for an error that has none.
        """
        return self._twin(f"{where}: {self.message}", self.hint or hint, self.details)

    def reworded(self, change: Callable[[str], str]) -> Self:
        """Return the same error with each of its texts put through `change`."""
        hint = None if self.hint is None else change(self.hint)
        return self._twin(change(self.message), hint, tuple(map(change, self.details)))

    def _twin(self, message: str, hint: str | None, details: tuple[str, ...]) -> Self:
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.message, twin.hint, twin.details = message, hint, details
        twin.args = ("\n  ".join([message, *details]),)
        return twin


def file_error(doing: str, path: str, error: OSError) -> SevbuildError:
    """Return what to raise where the system would not let us `read`, `write` or `make` a file or folder."""
    hint = "the $ in it is taken literally: variables are not expanded" if "$" in path else None
    return SevbuildError(f"cannot {doing} {path}: {error.strerror or error}", hint=hint)


@contextmanager
def file_errors(doing: str, path: str) -> Iterator[None]:
    """Have what the system refuses in this block raised as that error of a file or folder."""
    try:
        yield
    except OSError as error:
        raise file_error(doing, path, error) from None


class MismatchError(SevbuildError):
    """What was computed differs from what was expected (exit code 1)."""

    exit_code = 1


class Fault(NamedTuple):
    """One thing wrong with a declared document, and where it stands.

    `path` is the dotted TOML path (`vcpu.count[2]`), `line` counts from 1, `source` is the document's
    name as the user gave it.
    """

    source: str
    line: int | None
    path: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{where}: {self.path}: {self.message}" if self.path else f"{where}: {self.message}"


class FaultsError(SevbuildError):
    """Every fault of one document at once, in the order of its lines."""

    def __init__(self, faults: list[Fault]) -> None:
        ordered = sorted(dict.fromkeys(faults), key=lambda f: (f.source, f.line or 0))
        super().__init__("\n".join(str(fault) for fault in ordered))
        self.faults = tuple(ordered)

    def within(self, where: str, *, hint: str | None = None) -> Self:
        """Return the faults as they are, for each says its own place; a `hint` goes to the last of them."""
        del where
        *others, last = self.faults
        return self if hint is None else type(self)([*others, last._replace(hint=last.hint or hint)])

    def reworded(self, change: Callable[[str], str]) -> Self:
        """Return the faults with each of their texts put through `change`."""
        return type(self)(
            [
                fault._replace(message=change(fault.message), hint=fault.hint and change(fault.hint))
                for fault in self.faults
            ]
        )


@contextmanager
def within(where: str, *, hint: str | None = None) -> Iterator[None]:
    """Have a SevbuildError that is raised in this block say `where: ` before its message.

    `hint` is for an error that has none.

    Every error that passes through a file, a target or a loader gets its name in this way. What is raised is
    a new error of the same class with the same hint, exit code and firmware status: an error that was kept
    may be raised again.
    """
    try:
        yield
    except SevbuildError as error:
        raise error.within(where, hint=hint) from None


class Notice(NamedTuple):
    """What does not stop a measurement but should be known.

    `level` is `warning` (should not ship, or may not be what was meant) or `note` (a value that entered
    the digest without standing in the manifest). `where` is a manifest path, file or target label.
    """

    level: str
    where: str
    message: str
    hint: str | None = None
