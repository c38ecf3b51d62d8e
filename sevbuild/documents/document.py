"""A TOML document under decoding: typed access, and every fault with its place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sevbuild.errors import Fault, FaultsError, SevbuildError
from sevbuild.text import ancestors

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Document", "Table", "parse_toml", "suggest"]

T = TypeVar("T")
P = ParamSpec("P")
Word = TypeVar("Word", bound=str)

U32, U64 = 0xFFFFFFFF, (1 << 64) - 1
"""The largest numbers of 32 and of 64 bits."""

_LARGEST_SHOWN = 256
_NAME_FIRST = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
NAME_REST = _NAME_FIRST | frozenset("._-")
"""Characters of names, that a part of a label may also begin with."""
_TYPE_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a float",
    str: "a string",
    list: "a list",
    dict: "a table",
}


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Return the tables of a TOML text; a syntax error is a FaultsError with its line."""
    import tomli

    if text.startswith("\ufeff"):
        hint = "save it as UTF-8 without a byte-order mark"
        raise FaultsError([Fault(source, 1, "", "not valid TOML: begins with a byte-order mark", hint)])
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        message = f"not valid TOML: {error.msg[:1].lower()}{error.msg[1:]} (column {error.colno})"
        from sevbuild.documents.hints import toml_hint

        raise FaultsError([Fault(source, error.lineno, "", message, toml_hint(text))]) from None
    except RecursionError:
        raise FaultsError([Fault(source, None, "", "not valid TOML: nested too deeply")]) from None
    except ValueError:
        # Python's own limit on decimal digits, and dates that no calendar has.
        raise FaultsError(
            [Fault(source, None, "", "not valid TOML: a number or date out of range")]
        ) from None


def suggest(word: str, known: Iterable[str], *, say: str = "did you mean {}?") -> str | None:
    """Return a hint that names the known word nearest to `word`, or None."""
    from difflib import get_close_matches

    by_letters = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), by_letters, n=1, cutoff=0.6)
    return say.format(by_letters[near[0]]) if near else None


class Document:
    """One document's name and text, and the faults found in it.

    `aliases` maps decoded paths to where they really stand: an entry of `[[matrix]]`, or a `--set` flag.
    """

    def __init__(self, source: str, text: str, *, aliases: Mapping[str, str] | None = None) -> None:
        self.source = source
        self.text = text
        self.faults: list[Fault] = []
        self._aliases = aliases or {}
        # Filled when the first place is asked for, and shared by all views: a matrix can have thousands.
        self._lines: dict[str, int] = {}

    def aliased(self, aliases: Mapping[str, str]) -> Document:
        """Return a view of the document that collects into the same faults under other paths."""
        twin: Document = type(self)(self.source, self.text, aliases=aliases)
        twin.faults = self.faults
        twin._lines = self._lines
        return twin

    def key_hint(self, table: str, key: str, known: Collection[str]) -> str | None:
        """Return which of the known keys of a table may be meant by one that it does not have, or None."""
        del table
        return suggest(key, known)

    def place(self, path: str) -> tuple[str, int | None, str]:
        """Return source name, line and path under which the value at decoded `path` stands."""
        path = self._unalias(path)
        if path.startswith("--set "):
            return "--set", None, path.removeprefix("--set ")
        from sevbuild.documents.locate import locate, nearest

        if not self._lines:
            self._lines.update(locate(self.text))
        return self.source, nearest(self._lines, path), path

    def where(self, path: str) -> str:
        """Return `guest.toml:12` for the value at decoded `path`, `--set vcpu.count` for one that was set."""
        source, line, path = self.place(path)
        if source == "--set":
            return f"--set {path}"
        return source if line is None else f"{source}:{line}"

    def written(self, path: str) -> str | None:
        """Return the same for a key that is written there itself, None for one that is not."""
        source, line, path = self.place(path)
        if source == "--set":
            return f"--set {path}"
        exact = self._lines.get(path)
        return None if exact is None or line is None else f"{source}:{exact}"

    def fault(self, path: str, message: str, hint: str | None = None) -> None:
        """Note one fault at decoded `path`."""
        source, line, path = self.place(path)
        self.faults.append(Fault(source, line, path, message, hint))

    def fault_at(self, line: int, path: str, message: str, hint: str | None = None) -> None:
        """Note one fault at a line of its own, of a `path` that nothing stands at."""
        self.faults.append(Fault(self.source, line, path, message, hint))

    def attempt(self, path: str, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Return what `make` returns, or None with a fault at decoded `path` where it raises a SevbuildError.

        The faults of another document pass: each says its own place.
        """
        try:
            return make(*args, **kwargs)
        except FaultsError:
            raise
        except SevbuildError as error:
            self.fault(path, error.message, error.hint)
            return None

    def raise_faults(self) -> None:
        """Raise a FaultsError if any fault was noted."""
        if self.faults:
            raise FaultsError(self.faults)

    def _unalias(self, path: str) -> str:
        for head in ancestors(path):
            if head in self._aliases:
                return self._aliases[head] + path[len(head) :]
        return path


class Table:
    """One table of a document, read key by key; what nobody asked for is an unknown key."""

    def __init__(
        self, document: Document, raw: Mapping[str, Any], path: str = "", *, absent: bool = False
    ) -> None:
        self.document = document
        self.path = path
        self._absent = absent
        self._raw = raw
        self._asked: dict[str, None] = {}

    def at(self, key: str) -> str:
        """Return the dotted path of `key` in this table."""
        return f"{self.path}.{key}" if self.path else key

    def has(self, key: str) -> bool:
        """Tell whether the table holds `key`."""
        return key in self._raw

    def names(self) -> list[str]:
        """Return the keys present, marking them all as known."""
        self._asked.update(dict.fromkeys(self._raw))
        return list(self._raw)

    def fault(self, key: str, message: str, hint: str | None = None) -> None:
        """Note a fault at `key`; of a table that is absent as a whole, that is fault enough."""
        if not self._absent:
            self.document.fault(self.at(key), message, hint)

    def any(self, key: str) -> Any:
        """Return the value of `key` whatever its type, or None."""
        self._asked[key] = None
        return self._raw.get(key)

    def string(self, key: str, *, required: bool = False) -> str | None:
        """Return a string, or None with a fault where it is something else."""
        value = self._typed(key, str, required=required)
        return value if isinstance(value, str) else None

    def boolean(self, key: str, *, required: bool = False) -> bool | None:
        """Return a boolean, or None with a fault where it is something else."""
        value = self._typed(key, bool, required=required)
        return value if isinstance(value, bool) else None

    def integer(self, key: str, low: int, high: int, *, required: bool = False) -> int | None:
        """Return an integer within `low..high`, or None with a fault."""
        value = self._typed(key, int, required=required)
        return None if value is None else check_integer(self.document, self.at(key), value, low, high)

    def choice(self, key: str, words: Iterable[Word], *, required: bool = False) -> Word | None:
        """Return one of `words`, or None with a fault."""
        value = self._typed(key, str, required=required)
        return None if value is None else check_word(self.document, self.at(key), value, words)

    def table(self, key: str) -> Table | None:
        """Return a sub-table, or None with a fault where it is something else."""
        value = self._typed(key, dict)
        return Table(self.document, value, self.at(key)) if isinstance(value, dict) else None

    def section(self, key: str) -> Self:
        """Return a sub-table that must be there; where it is not, with a fault, an empty one."""
        value = self._typed(key, dict, required=True)
        absent = not isinstance(value, dict)
        return type(self)(self.document, {} if absent else value, self.at(key), absent=absent)

    def items(self, key: str, decode: Callable[[str, Any], T | None]) -> list[T] | None:
        """Return the decoded entries of a list, or of a single value as a list of one.

        `decode(path, value)` returns None for what it found at fault; such entries are dropped.
        """
        self._asked[key] = None
        if key not in self._raw:
            return None
        value = self._raw[key]
        if not isinstance(value, list):
            entries = [(self.at(key), value)]
        else:
            entries = [(f"{self.at(key)}[{index}]", entry) for index, entry in enumerate(value)]
            if not entries:
                self.fault(key, "must not be empty")
        decoded = [decode(path, entry) for path, entry in entries]
        return [entry for entry in decoded if entry is not None]

    def finish(self) -> None:
        """Note every key that nobody asked for as unknown."""
        for key in self._raw:
            if key not in self._asked:
                self.fault(key, "unknown key", self.document.key_hint(self.path, key, self._asked))

    def _typed(self, key: str, kind: type, *, required: bool = False) -> Any:
        self._asked[key] = None
        if key not in self._raw:
            if required:
                self.fault(key, f"missing: {_TYPE_NAMES[kind]} is required")
            return None
        return check_type(self.document, self.at(key), self._raw[key], kind)


def check_type(document: Document, path: str, value: Any, kind: type) -> Any:
    """Return `value` if it is of `kind` (a boolean is no integer), else None with a fault."""
    if isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
        return value
    got = _TYPE_NAMES.get(type(value), "a date or time")
    from sevbuild.documents.hints import type_hint

    document.fault(path, f"must be {_TYPE_NAMES[kind]}, got {got}", type_hint(value, kind))
    return None


def check_integer(document: Document, path: str, value: Any, low: int, high: int) -> int | None:
    """Return `value` if it is an integer within `low..high`, else None with a fault."""
    number = check_type(document, path, value, int)
    if number is None or low <= number <= high:
        return None if number is None else int(number)
    as_hex = high > 0xFFFF
    bounds = f"{low:#x}..{high:#x}" if as_hex else f"{low}..{high}"
    if number.bit_length() > _LARGEST_SHOWN:
        # Python refuses to print what hexadecimal digits can write.
        got = f"a number of {number.bit_length()} bits"
    else:
        got = f"{number:#x}" if as_hex else f"{number}"
    document.fault(path, f"must be {bounds}, got {got}")
    return None


def check_word(document: Document, path: str, value: Any, words: Iterable[Word]) -> Word | None:
    """Return `value` if it is one of `words`, else None with a fault that names the nearest."""
    if check_type(document, path, value, str) is None:
        return None
    words = list(words)
    for word in words:
        if word == value:
            return word
    hint = suggest(value, words) or f"known: {', '.join(words)}"
    document.fault(path, f"unknown value {value!r}", hint)
    return None


def check_name(document: Document, path: str, value: str) -> str | None:
    """Return `value` if it is a name that labels, files and terminals can carry, else None with a fault."""
    if value[:1] in _NAME_FIRST and set(value) <= NAME_REST and value:
        return value
    document.fault(path, f"must match [a-z0-9][a-z0-9._-]*, got {value[:120]!r}")
    return None


def check_hex(document: Document, path: str, value: Any, size: int) -> bytes | None:
    """Return the `size` bytes that a string of hexadecimal digits stands for, else None with a fault."""
    text = check_type(document, path, value, str)
    if text is None:
        return None
    return document.attempt(path, parse_hex, text, size)


def parse_hex(text: str, size: int) -> bytes:
    """Return the `size` bytes of a hexadecimal string; upper case and a `0x` prefix are accepted."""
    digits = text.lower().removeprefix("0x")
    if len(digits) != 2 * size or not set(digits) <= set("0123456789abcdef"):
        from sevbuild.documents.hints import digits_hint

        message = f"must be {2 * size} hexadecimal digits, got {text[:120]!r}"
        raise SevbuildError(message, hint=digits_hint(text))
    return bytes.fromhex(digits)
