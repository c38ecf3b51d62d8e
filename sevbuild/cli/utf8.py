"""One way to read arguments, file names and the environment: UTF-8, and what is none kept byte for byte.

Python decodes them with the locale's encoding, and encodes paths with it: under ISO-8859-1, a command line
given in UTF-8 would be measured and written as other bytes, and a path in a manifest would be another file.
Its UTF-8 mode (PEP 540, the default from 3.15 on, PEP 686) does neither. It can only be set before the
interpreter starts.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from sevbuild.errors import SevbuildError

__all__ = ["restart_in_utf8"]


def restart_in_utf8() -> None:
    """Run this process's command again in UTF-8 mode; does not return.

    Descriptors, environment and process id stay; arguments are passed on byte for byte. Raises SevbuildError
    where the mode is switched off by hand, or there is no interpreter to start.
    """
    switched_off = "utf8" in sys._xoptions  # noqa: SLF001 - documented, and the only way to know
    if switched_off or not sys.executable:
        encoding = sys.getfilesystemencoding()
        raise SevbuildError(
            f"file names are {encoding} here: their bytes would not be preserved",
            hint="set PYTHONUTF8=1, or a UTF-8 locale",
        )
    try:
        words = [os.fsencode(sys.executable), b"-X", b"utf8", *_own_words()]
        os.execv(sys.executable, words)  # noqa: S606 - its own interpreter
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        hint = "set PYTHONUTF8=1, or a UTF-8 locale"
        raise SevbuildError(f"cannot start {sys.executable} again: {reason}", hint=hint) from None


def _own_words() -> list[bytes]:
    """Return the words that this interpreter was started with, without its own name."""
    # What Python has decoded cannot be encoded again in every encoding of several bytes: EUC-JP, Big5.
    with suppress(OSError), open("/proc/self/cmdline", "rb") as stream:
        words = stream.read().split(b"\0")[:-1]
        if len(words) == len(sys.orig_argv):
            return words[1:]
    return [os.fsencode(word) for word in sys.orig_argv[1:]]
