"""One mismatch: a guest as it was declared, the digest that was measured, and what was otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from tests.diagnose.cases.world import GUESTS, Tables, World
from tests.support.chain import Launch, digest
from tests.support.old_peers import sev_snp_measure, snpguest
from tests.support.shared import shared_file

__all__ = ["ROWS", "Case", "Peer", "Report", "expected_of", "launch_of", "report_with", "tables_of"]

ROWS = {
    "firmware": "another firmware build",
    "vcpus": "vCPU count",
    "kernel": "kernel, initrd or command line",
    "cpu": "CPU model",
    "era": "era of the host kernel",
    "features": "SEV_FEATURES",
    "vmm": "VMM",
    "compared": "another thing was compared",
    "id-block": "ID block or policy refused",
    "igvm": "SVSM and IGVM",
    "sections": "kinds and order of sections",
}
"""The true causes by which mismatches were gathered. Certificates and TDX are not `explain`'s."""


class Report:
    """A report of hardware that the user has: one of the vectors."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, _world: World, _measured: str) -> str:
        """Return its path, whatever the chain has."""
        return str(shared_file(self._name))

    @property
    def measurement(self) -> str:
        """Return its MEASUREMENT in hex (SNP ABI table 23)."""
        return shared_file(self._name).read_bytes()[0x90:0xC0].hex()


def report_with(name: str) -> Callable[[World, str], str]:
    """Return that the user has a report of such hardware, with the digest that was measured.

    Its signature is not that of the hardware; to explain a digest, none is looked at.
    """

    def written(world: World, measured: str) -> str:
        data = bytearray(shared_file(name).read_bytes())
        data[0x90:0xC0] = bytes.fromhex(measured)
        path = world.folder / f"{sha256(data).hexdigest()[:16]}.report.bin"
        path.write_bytes(data)
        return str(path)

    return written


Given = Mapping[str, Any] | Callable[[World], Mapping[str, Any]]
"""Values that are written down, or that take a file's bytes."""

NOTHING: Given = {}


class Peer(NamedTuple):
    """What another program was asked: `@NAME` in an argument is a file of the cases."""

    program: str
    arguments: Sequence[str]


class Case(NamedTuple):
    """`host` says what was launched otherwise than the guest of this name declares, for the chain.

    `manifest` is laid over the guest's tables: there the publisher was wrong, or both are otherwise than the
    guest. `cause` are the settings that explain the digest; of a file it says in words what is another.
    Without one nothing can explain it, and what is excluded matches `excludes`; `also` matches what is said
    of a digest that is no other launch, `refused` why there is nothing to search. `expected` is what the user
    has in place of the digest in hex, `subject` what is explained in place of the manifest.
    """

    name: str
    row: str
    threads: str
    guest: str
    cause: Mapping[str, str] = {}
    host: Given = NOTHING
    manifest: Given = NOTHING
    options: Sequence[str] = ()
    peer: Peer | None = None
    published: str = ""
    expected: Callable[[World, str], str] | None = None
    subject: Callable[[World, Path], str] | None = None
    excludes: str = ""
    also: str = ""
    refused: str = ""
    public: bool = False
    """Whether inputs and number are public: then the case is the thread's own, not only of its cause."""
    by: str = ""
    """Who gave the digest, where `peer` does not say it."""

    @property
    def kind(self) -> str:
        """Return whether there is an explanation, and of how many settings."""
        if self.refused:
            return "refused"
        if self.also:
            return "said at once"
        return ("not found", "one cause", "two causes", "three causes")[len(self.cause)]

    @property
    def made(self) -> str:
        """Return who gave the digest."""
        if self.by:
            return self.by
        if isinstance(self.expected, Report):
            return "hardware"
        return self.peer.program if self.peer else "published" if self.published else "chain"


def _given(value: Given, world: World) -> Mapping[str, Any]:
    return value(world) if callable(value) else value


def launch_of(case: Case, world: World) -> Launch:
    """Return what was launched, as the chain takes it."""
    launch = GUESTS[case.guest].launch(world)
    host = _given(case.host, world)
    if "vmsa" in host:
        host = {**host, "vmsa": {**launch.vmsa, **host["vmsa"]}}
    return launch._replace(**host)


def tables_of(case: Case, world: World) -> Tables:
    """Return the tables of the case's manifest; a key that is None is taken away."""
    tables = {name: dict(table) for name, table in GUESTS[case.guest].tables(world).items()}
    for name, table in _given(case.manifest, world).items():
        if table is None:
            del tables[name]
        else:
            tables[name] = {**tables.get(name, {}), **table}
    return tables


def expected_of(case: Case, world: World, folder: Path) -> str:
    """Return the digest in hex: the chain's, which is that of the peer, or the one that was published."""
    found = digest(launch_of(case, world))
    if isinstance(case.expected, Report) and case.cause:
        assert case.expected.measurement == found, "the hardware measured another digest"
    if case.published:
        assert case.published == found or not case.cause or case.subject, "the chain has another digest"
        return case.published
    if case.peer is not None:
        arguments = [world.path(word[1:]) if word.startswith("@") else word for word in case.peer.arguments]
        program, _, release = case.peer.program.partition(" ")
        printed = (
            snpguest(arguments, folder)
            if program == "snpguest"
            else sev_snp_measure(release, arguments, folder)
        )
        assert printed == found, f"{case.peer.program} prints another digest"
    return found
