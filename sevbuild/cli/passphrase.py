"""The passphrases of private keys, by environment or file descriptor: an argument would be seen by all."""

# No `from __future__ import annotations` here, as in options.py.

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from sevbuild.cli.options import value_option
from sevbuild.errors import SevbuildError, file_error

if TYPE_CHECKING:
    from sevbuild.guest.guest import Guest
    from sevbuild.guest.id_blocks import Passphrases

__all__ = ["PassphraseOptions"]

ENCRYPTED = "For encrypted keys"
"""The group of these options in the help."""

_LONGEST = 4096


def _option(name: str, metavar: str, text: str, default: Any = "") -> Any:
    return value_option(name, metavar=metavar, text=text, default=default, panel=ENCRYPTED)


class PassphraseOptions(NamedTuple):
    """Where the passphrases of the ID key and of the author key are."""

    passphrase_env: str = _option(
        "--passphrase-env", "NAME", "The environment variable of the key's passphrase."
    )
    passphrase_fd: int | None = _option(
        "--passphrase-fd", "N", "The file descriptor of the key's passphrase, a line.", None
    )
    author_passphrase_env: str = _option(
        "--author-passphrase-env", "NAME", "The environment variable of the author key's."
    )
    author_passphrase_fd: int | None = _option(
        "--author-passphrase-fd", "N", "The file descriptor of the author key's.", None
    )

    def read(self) -> "Passphrases":
        """Return the passphrases, each None where nothing says it; raises SevbuildError."""
        from sevbuild.guest.id_blocks import Passphrases

        return Passphrases(
            _read("--passphrase", self.passphrase_env, self.passphrase_fd),
            _read("--author-passphrase", self.author_passphrase_env, self.author_passphrase_fd),
        )

    def refuse_author(self) -> None:
        """Raise SevbuildError for a passphrase of an author key, where there is none beside the ID key."""
        if self.author_passphrase_env or self.author_passphrase_fd is not None:
            raise SevbuildError("--author-passphrase-env and -fd are for an author key beside an ID key")

    def open_keys(self, guest: "Guest") -> None:
        """Have the keys of a guest's ID blocks opened with these; raises SevbuildError where it has none."""
        if not any(value not in ("", None) for value in self):
            return
        if guest.id_blocks is None:
            raise SevbuildError(
                "a passphrase, but no key that it opens", hint="[id-block] of the manifest names one"
            )
        guest.id_blocks.unlock(self.read())


def _read(option: str, name: str, descriptor: int | None) -> bytes | None:
    if name and descriptor is not None:
        raise SevbuildError(f"{option}-env cannot be combined with {option}-fd")
    if name:
        found = os.environb.get(os.fsencode(name))
        if not found:
            raise SevbuildError(
                f"{option}-env {name}: the variable is {'empty' if found == b'' else 'not set'}"
            )
        return found
    if descriptor is None:
        return None
    data = b""
    try:
        while len(data) <= _LONGEST and b"\n" not in data and (more := os.read(descriptor, _LONGEST)):
            data += more
    except OSError as error:
        raise file_error("read", f"{option}-fd {descriptor}", error) from None
    except OverflowError:
        raise SevbuildError(f"{option}-fd {descriptor}: not the number of a file descriptor") from None
    line = data.partition(b"\n")[0].removesuffix(b"\r")
    if not line or len(line) > _LONGEST:
        raise SevbuildError(f"{option}-fd {descriptor}: a line of 1 to {_LONGEST} bytes is a passphrase")
    return line
