"""`--sign KEY` and `--sign FORMAT=KEY`: with which private key each format is signed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sevbuild.cli import options

if TYPE_CHECKING:
    from sevbuild.reference.export.signing import SigningKey, SigningKeys

__all__ = ["SIGN", "key_paths", "read_signing_keys"]

SIGN: Any = options.value_option(
    "--sign",
    metavar="KEY|FORMAT=KEY",
    text="Sign with this private key (PEM): every format that can be signed, or only FORMAT; may be repeated. "
    "Every reader knows P-256.",
    default=[],
)

_KEY_LIMIT = 64 << 10
"""No private key is larger."""


def read_signing_keys(given: list[str]) -> SigningKeys:
    """Return the keys that values of `--sign` name, each read; raises SevbuildError for any other value.

    What stands before the first `=` is a format if one is called so, else a part of the path.
    """
    from sevbuild.errors import SevbuildError
    from sevbuild.reference.export.signing import SigningKeys

    default: SigningKey | None = None
    named: dict[str, SigningKey] = {}
    for text in given:
        name, path = _split(text)
        if not path:
            raise SevbuildError(f"--sign{name and f' {name}='}: empty", hint="it takes the path of a key")
        if name in named or (not name and default is not None):
            hint = "--sign FORMAT=KEY gives one format a key of its own"
            raise SevbuildError(f"--sign {text}: {name or 'one key'} was already given", hint=hint)
        key = _read_key(path)
        if name:
            named[name] = key
        else:
            default = key
    return SigningKeys(default, named)


def key_paths(given: list[str]) -> list[str]:
    """Return the paths of the keys that values of `--sign` name."""
    return [_split(text)[1] for text in given]


def _split(text: str) -> tuple[str, str]:
    """Return format and path of a value; the format is empty where the value is a path alone."""
    name, equals, path = text.partition("=")
    if not equals:
        return "", text
    from sevbuild.documents.document import suggest
    from sevbuild.errors import SevbuildError
    from sevbuild.manifest.formats import FORMATS
    from sevbuild.reference.export.registry import exporter, signed_formats

    if name in FORMATS:
        if not exporter(name).signs:
            hint = f"{' and '.join(signed_formats())} can"
            raise SevbuildError(f"--sign {text}: format {name} cannot be signed", hint=hint)
        return name, path
    near = suggest(name, signed_formats())
    if near is not None and not os.path.exists(text):
        raise SevbuildError(f"--sign {text}: unknown format {name!r}", hint=near)
    return "", text


def _read_key(path: str) -> SigningKey:
    from sevbuild.fs import read_file
    from sevbuild.reference.export.signing import load_signing_key

    return load_signing_key(read_file(path, _KEY_LIMIT), path)
