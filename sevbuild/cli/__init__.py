"""The command line: one module a verb, and only the verb that is called is imported."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["VERBS", "main"]

VERBS = {
    "init": "init",
    "import": "import_guest",
    "check": "check",
    "lock": "lock",
    "schema": "schema",
    "measure": "measure",
    "plan": "plan",
    "build": "build",
    "publish": "publish",
    "export": "export",
    "verify": "verify",
    "explain": "explain",
    "appraisal": "appraisal",
    "certs": "certs",
    "session": "session",
    "inspect": "inspect",
    "qemu-args": "qemu_args",
    "id-block": "id_block",
    "recompute": "recompute",
    "merge": "merge",
    "diff": "diff",
    "replay": "replay",
    "profiles": "profiles",
    "cpus": "cpus",
    "cache": "cache",
}
"""Every verb and the module of this package that has it under its own name, in the order of the help."""

INTERNAL_ERROR = 70
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command line and exit: 0 done, 1 mismatch, 2 at fault, 70 internal error, 130 interrupted."""
    # Nothing here lives long enough for a collection to pay; imports alone would trigger several.
    gc.disable()
    status = _ended(lambda: _run(arguments))
    # Data may still wait to be written: that it cannot be is an error of its own.
    unwritten = _ended(lambda: sys.stdout.flush() or 0)
    if arguments is None and "lief" not in sys.modules:
        # The interpreter would look through every object once more before it ends: a tenth of a short run.
        # What lief is made of counts what was not taken apart then, and complains.
        gc.freeze()
    sys.exit(max(status, unwritten))


def _run(arguments: list[str] | None) -> int:
    # Whatever goes wrong from here on, in an import say, has its exit code.
    from sevbuild.cli.streams import prepare_streams

    prepare_streams()
    if arguments is None:
        if sys.getfilesystemencoding() != "utf-8":
            from sevbuild.cli.utf8 import restart_in_utf8

            restart_in_utf8()
        arguments = sys.argv[1:]
    from sevbuild.cli.app import run_program

    return run_program(arguments)


def _ended(step: Callable[[], int]) -> int:
    """Return the exit code of a step, however it ends, having said why."""
    try:
        return step()
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 2 * bool(error.code)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it has its exit code
        try:
            return _told(error)
        except BaseException:  # noqa: BLE001 - memory has run out for good: only the words are lost
            return INTERNAL_ERROR


def _told(error: BaseException) -> int:
    """Say what went wrong, and return its exit code."""
    try:
        from sevbuild.cli.report import print_error
        from sevbuild.errors import SevbuildError

        if isinstance(error, SevbuildError):
            print_error(error)
            return error.exit_code
    except Exception as failed:  # noqa: BLE001 - it is told in place of the other
        error = failed
    from sevbuild.cli.internal_error import print_internal_error

    print_internal_error(error)
    return INTERNAL_ERROR
