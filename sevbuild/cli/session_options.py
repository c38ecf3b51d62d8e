"""Options of `sevbuild session`: where keys are, and what firmware the host has."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from sevbuild.cli.options import value_option
from sevbuild.errors import SevbuildError, within

if TYPE_CHECKING:
    from sevbuild.identity.host_report import HostReport
    from sevbuild.identity.sev_session import TransportKeys

__all__ = ["POLICY", "RELEASE", "FirmwareOptions", "KeyOptions", "read_number"]

RELEASE: Any = value_option(
    "--release", metavar="VERSION", text="This release alone, in a document of several."
)
POLICY: Any = value_option(
    "--policy",
    metavar="N",
    text="The policy of the session, decimal or 0x.... Default: the published one.",
)

_key = partial(value_option, panel="Keys of the session (a file, or /dev/fd/N)")
_number = partial(
    value_option,
    metavar="N",
    text="Decimal or 0x....",
    panel="The host's firmware, where it is not in what the host reports",
)


class KeyOptions(NamedTuple):
    """Where the keys of a session are; never the keys themselves."""

    session: str = _key("--session", metavar="DIR", text="The folder of one session.")
    tik: str = _key("--tik", metavar="FILE", text="The TIK.")
    tek: str = _key("--tek", metavar="FILE", text="The TEK.")
    tk: str = _key("--tk", metavar="FILE", text="TEK and TIK in one file, in this order.")

    def read(self) -> TransportKeys:
        """Return the keys; the TEK is empty where it was not given."""
        from sevbuild.appraise.sev_session import read_transport_keys

        return read_transport_keys(*self)


class FirmwareOptions(NamedTuple):
    """What the host's firmware is, and the nonce that it chose."""

    api_major: str = _number("--api-major")
    api_minor: str = _number("--api-minor")
    build_id: str = _number("--build-id")
    nonce: str = _number("--nonce", metavar="TEXT", text="16 bytes in base64 or hexadecimal digits.")

    def report(self, host: list[str]) -> HostReport:
        """Return what the host reports in files, and these options say beside them."""
        from sevbuild.appraise.sev_session import read_host
        from sevbuild.identity.host_report import HostReport, merged_reports
        from sevbuild.identity.launch_measure import parse_nonce

        given = {
            name: read_number(f"--{name.replace('_', '-')}", getattr(self, name), 0xFF)
            for name in ("api_major", "api_minor", "build_id")
            if getattr(self, name)
        }
        with within("--nonce"):
            nonce = parse_nonce(self.nonce) if self.nonce else None
        own = HostReport(None, nonce, **given)
        return merged_reports([("what the host reports", read_host(host)), ("the options", own)])


def read_number(flag: str, text: str, most: int) -> int:
    """Return a number that is written in decimal, or in hexadecimal after 0x; raises SevbuildError."""
    digits = text.strip().lower()
    try:
        number = int(digits, 0) if digits.startswith("0x") else int(digits)
    except ValueError:
        hint = f"0x{digits}, if it is hexadecimal" if set(digits) <= set("0123456789abcdef") else None
        raise SevbuildError(f"{flag} {text}: not a number", hint=hint) from None
    if not 0 <= number <= most:
        raise SevbuildError(f"{flag} {text}: not between 0 and {most:#x}")
    return number
