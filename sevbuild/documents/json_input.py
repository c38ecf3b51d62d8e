"""JSON from anywhere: one clear error for what is no document of ours or anyone's."""

from __future__ import annotations

import json
from typing import Any

from sevbuild.documents.document import Document
from sevbuild.errors import FaultsError, SevbuildError

__all__ = ["DOCUMENT_LIMIT", "JsonDocument", "parse_json"]

DOCUMENT_LIMIT = 256 << 20
"""The size of the largest document read: more than the most targets of a manifest need."""

_MOST_FAULTS = 20


class JsonDocument(Document):
    """A JSON document and its faults, each with its JSON path; the first twenty end the reading."""

    def __init__(self, source: str) -> None:
        super().__init__(source, "")

    def place(self, path: str) -> tuple[str, int | None, str]:
        """Return source name, no line, and the JSON path."""
        return self.source, None, f"$.{path}" if path else "$"

    def fault(self, path: str, message: str, hint: str | None = None) -> None:
        """Note one fault at decoded `path`."""
        super().fault(path, message, hint)
        if len(self.faults) >= _MOST_FAULTS:
            raise FaultsError(self.faults)


def parse_json(source: str, data: bytes, *, line: int | None = None) -> Any:
    """Return the value of a UTF-8 JSON text; raises SevbuildError naming `source`.

    Refused are doubled keys, numbers that are no integers, and half surrogates in strings. A text that is one
    `line` of a file is named with it.
    """
    file = source
    if line is not None:
        source = f"{file}:{line}"
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_object, parse_float=_no_float, parse_constant=_no_float)
        # A lone surrogate reads but cannot be written.
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise _other(source, data) or SevbuildError(f"{source}: not UTF-8 text") from None
    except UnicodeEncodeError:
        raise SevbuildError(f"{source}: a string contains an unpaired surrogate") from None
    except json.JSONDecodeError as error:
        # An archive can begin with letters alone.
        if other := _other(source, data):
            raise other from None
        from sevbuild.documents.hints import json_hint

        # What follows in brackets is for whoever calls Python's decoder.
        reason = f"{error.msg[:1].lower()}{error.msg[1:]}".partition(" (")[0]
        message = f"{file}:{error.lineno if line is None else line}: not valid JSON: {reason}"
        raise SevbuildError(message, hint=json_hint(error.doc)) from None
    except RecursionError:
        raise SevbuildError(f"{source}: not valid JSON: nested too deeply") from None
    except ValueError as error:
        raise SevbuildError(f"{source}: not a readable JSON document: {_short(error)}") from None
    return value


class _RefusedError(ValueError):
    """Why a value of the text is refused."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RefusedError(f"the key {key[:80]!r} appears twice in one object")
            seen.add(key)
    return found


def _no_float(text: str) -> Any:
    raise _RefusedError(f"{text[:40]} is not an integer")


def _short(error: ValueError) -> str:
    # Python's own refusal of a number with thousands of digits names a function of Python's.
    return str(error) if isinstance(error, _RefusedError) else "a number has too many digits"


def _other(source: str, data: bytes) -> SevbuildError | None:
    from sevbuild.kind import HEAD_SIZE, KINDS, another_thing, kind_of

    head = data[:HEAD_SIZE]
    thing = another_thing(head)
    igvm = kind_of(head) == KINDS["igvm"]
    hint = "`sevbuild measure -f json` turns one into reference values" if igvm else None
    return SevbuildError(f"{source}: {thing}, not a JSON document", hint=hint) if thing else None
