"""The files of a session, by the names that sevctl gives them, and what its owner should know of it."""

from __future__ import annotations

import re
from base64 import b64encode

from sevbuild.errors import SevbuildError
from sevbuild.identity.sev_chain import SevChain
from sevbuild.identity.sev_session import OwnerSession
from sevbuild.launch.policy import SevPolicy

__all__ = ["owner_files", "session_warnings"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def owner_files(made: OwnerSession, name: str) -> tuple[dict[str, bytes], list[str]]:
    """Return the files of a session by name, and the names of those that nobody else may read.

    QEMU takes certificate and session in base64. Raises SevbuildError for a name that is no file's.
    """
    if not _NAME.fullmatch(name):
        raise SevbuildError(
            f"{name[:100]!r} is no name for files", hint="letters, digits, and . _ - after one"
        )
    keys = {
        f"{name}_tik.bin": made.keys.tik,
        f"{name}_tek.bin": made.keys.tek,
        f"{name}_tk.bin": made.keys.tek + made.keys.tik,
    }
    public = {
        f"{name}_godh.b64": b64encode(made.godh),
        f"{name}_session.b64": b64encode(made.session),
    }
    return {**public, **keys}, list(keys)


def session_warnings(chain: SevChain, policy: int) -> list[str]:
    """Return what should be known of a session for a guest of this policy (u32).

    Raises SevbuildError for a policy under which nothing is launched.
    """
    asked = SevPolicy(policy)
    fault = asked.fault("sev-es" if asked.es else "sev")
    if fault is not None:
        raise SevbuildError(f"policy {fault[0]}", hint=fault[1])
    found = [text for text in (asked.warning(),) if text is not None]
    refusal = asked.refusal(api=chain.pdh.api)
    if refusal is not None:
        major, minor = chain.pdh.api
        found.append(
            f"{refusal}, and the PDH was made by API {major}.{minor}: this host may refuse the launch"
        )
    return found
