"""Options that several verbs share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from sevbuild.cli.parser import COMMON
from sevbuild.cli.report import print_message, shown_progress
from sevbuild.errors import SevbuildError, within
from sevbuild.fs import file_starts_with, read_text

if TYPE_CHECKING:
    from sevbuild.cli.foreign import ForeignOptions
    from sevbuild.guest.inputs import Network
    from sevbuild.launch.mode import Mode

__all__ = [
    "CPU",
    "DEFAULT_MANIFEST",
    "EXPECT",
    "FOREIGN_MAGIC",
    "FROZEN",
    "LOADERS",
    "LOCKED",
    "LOCKS_ARE_FOR_MANIFESTS",
    "LOCK_FILE",
    "MANIFEST",
    "MANIFESTS",
    "MANIFEST_OR_IGVM",
    "MODE",
    "OFFLINE",
    "QUIET",
    "RELEASE",
    "RESULT_FORMAT",
    "SETTINGS",
    "TARGETS",
    "VALUES_SOURCE",
    "VCPUS",
    "WITH_CMDLINE",
    "WITH_INITRD",
    "WITH_KERNEL",
    "LockOptions",
    "check_format",
    "check_release",
    "given_mode",
    "igvm_options",
    "network",
    "read_settings",
    "wants_json",
]

FOR_IGVM = "For an IGVM file"
LOCKS = "Lock and network"
"""Groups of options in the help."""

DEFAULT_MANIFEST = "guest.toml"
MANIFEST: Any = typer.Argument(
    DEFAULT_MANIFEST, metavar="[MANIFEST]", help="The manifest, or - for standard input."
)
MANIFESTS: Any = typer.Argument(
    None,  # older releases of click refuse a default where any number is taken
    metavar="[MANIFEST]...",
    help=f"The manifests; - is standard input.  [default: {DEFAULT_MANIFEST}]",
    show_default=False,
)
MANIFEST_OR_IGVM: Any = typer.Argument(
    DEFAULT_MANIFEST,
    metavar="[MANIFEST]",
    help="The manifest, or - for standard input; or an IGVM file.",
)
VALUES_SOURCE: Any = typer.Argument(
    DEFAULT_MANIFEST,
    metavar="[FILE]",
    help="A manifest, measured now, or a reference-values.json, or the folder of a release or bundle.",
)
SETTINGS: Any = typer.Option(
    [], "--set", metavar="PATH=VALUE", help="Override a manifest key by its TOML path; @FILE reads the value."
)
TARGETS: Any = typer.Option(
    [],
    "--target",
    metavar="LABEL",
    help="Take these targets alone: a label, whole parts of one (vcpus2), a glob; may be repeated.",
)
EXPECT: Any = typer.Option(
    "",
    "--expect",
    metavar="HEX|PATH",
    help="Exit 1 unless this was published: a digest, a document, a release, a bundle, DIGEST  LABEL lines.",
    show_default=False,
)
RELEASE: Any = typer.Option(
    "",
    "--release",
    metavar="VERSION",
    help="Of an expected document of several releases take this one, not that of the guest's version.",
    show_default=False,
)
LOADERS: Any = typer.Option(
    [],
    "--loader",
    metavar="NAME|all",
    help="Load it as this program does; may be repeated.",
    rich_help_panel=FOR_IGVM,
)
MODE: Any = typer.Option(
    None,
    "--mode",
    metavar="snp|sev-es|sev",
    help="Of several platforms, launch it as this one.",
    rich_help_panel=FOR_IGVM,
)
VCPUS: Any = typer.Option(
    None, "--vcpus", metavar="N", help="Start N vCPUs, not as many as it describes.", rich_help_panel=FOR_IGVM
)
CPU: Any = typer.Option(
    None, "--cpu", metavar="MODEL", help="The CPU of vCPUs it does not describe.", rich_help_panel=FOR_IGVM
)
WITH_KERNEL: Any = typer.Option(
    None,
    "--with-kernel",
    metavar="FILE",
    help="The kernel that Cloud Hypervisor is given.",
    rich_help_panel=FOR_IGVM,
)
WITH_INITRD: Any = typer.Option(
    None, "--with-initrd", metavar="FILE", help="The initrd beside it.", rich_help_panel=FOR_IGVM
)
WITH_CMDLINE: Any = typer.Option(
    None, "--with-cmdline", metavar="TEXT", help="The command line beside it.", rich_help_panel=FOR_IGVM
)
LOCKED: Any = typer.Option(
    False, "--locked", help="Exit 1 unless guest.lock says what is found.", rich_help_panel=LOCKS
)
FROZEN: Any = typer.Option(
    False, "--frozen", help="As --locked; without a guest.lock, exit 2.", rich_help_panel=LOCKS
)
LOCK_FILE: Any = typer.Option(
    "",
    "--lock",
    metavar="FILE",
    help="As --locked, with this lock for guest.lock.",
    show_default=False,
    rich_help_panel=LOCKS,
)
OFFLINE: Any = typer.Option(
    False,
    "--offline",
    help="Fetch nothing: inputs by URL must be in the cache.",
    rich_help_panel=LOCKS,
)
QUIET: Any = typer.Option(
    False, "--quiet", "-q", help="Print no notes and warnings, nor what was written.", rich_help_panel=COMMON
)
RESULT_FORMAT: Any = typer.Option(
    "text", "--format", "-f", metavar="text|json", help="How to print what was done."
)


LOCKS_ARE_FOR_MANIFESTS = "--locked, --frozen, --lock and --offline are for manifests"

FOREIGN_MAGIC = b"IGVM"
"""What tells an IGVM file from a manifest."""


def read_settings(settings: list[str]) -> dict[str, Any]:
    """Return the values of `--set PATH=VALUE` flags by dotted path.

    What a value stands for depends on its key: docs/manifest.md says how. `@FILE` stands for the text of a
    file less one newline at its end.
    """
    if not settings:
        return {}
    from sevbuild.manifest.settings import path_steps, setting_value

    found: dict[str, Any] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        path = path.strip()
        if not equals:
            raise SevbuildError(
                f"--set {setting}: not of the form PATH=VALUE", hint="such as --set vcpu.count=8"
            )
        steps = path_steps(path)
        if text.startswith("@"):
            found[path] = setting_value(steps, read_text(text[1:]).removesuffix("\n"), literal=True)
        else:
            found[path] = setting_value(steps, text)
    return found


def check_format(value: str, known: tuple[str, ...], *, flag: str = "--format") -> str:
    """Return a `--format`, or a flag like it, if the verb knows it; raises SevbuildError."""
    if value not in known:
        raise SevbuildError(f"{flag} {value}: not known here", hint=f"one of {', '.join(known)}")
    return value


def wants_json(fmt: str) -> bool:
    """Return whether a `--format text|json` is `json`; raises SevbuildError for any other word."""
    return check_format(fmt, ("text", "json")) == "json"


def check_release(release: str, expect: str) -> None:
    """Raise SevbuildError for `--release` without what it is a release of."""
    if release and not expect:
        raise SevbuildError("--release is for a document given with --expect")


def igvm_options(
    path: str,
    given: tuple[list[str], str | None, int | None, str | None, str | None, str | None, str | None],
    refused: Mapping[str, object],
) -> ForeignOptions | None:
    """Return what an IGVM file at `path` is launched with, None for a manifest.

    `given` are the values of the flags for IGVM files, in the order of ForeignOptions, and `refused` has
    those of flags for manifests by what is said of them. Raises SevbuildError for the one with the other.
    """
    found = file_starts_with(path, FOREIGN_MAGIC)
    if not found and all(value in ([], None) for value in given):
        return None
    from sevbuild.cli.foreign import ForeignOptions, refuse_foreign_options

    options = ForeignOptions(*given)
    if not found:
        refuse_foreign_options(options)
    for message, value in refused.items():
        if value:
            raise SevbuildError(message)
    return options


def given_mode(text: str | None) -> Mode | None:
    """Return what --mode says; raises SevbuildError for what is no mode."""
    if text is None:
        return None
    from sevbuild.launch.mode import mode_named

    with within(f"--mode {text}"):
        return mode_named(text)


class LockOptions(NamedTuple):
    """The values of --locked, --frozen, --lock and --offline."""

    locked: bool
    frozen: bool
    lock_file: str
    offline: bool

    def refuse(self) -> None:
        """Raise SevbuildError for a run without a manifest, where they have no effect."""
        if any(self):
            raise SevbuildError(LOCKS_ARE_FOR_MANIFESTS)

    def check(self, manifest: str, settings: list[str]) -> Callable[..., None]:
        """Return what holds a run to its lock: called with the guest and its targets once they are read."""
        if not (self.locked or self.frozen or self.lock_file):
            return lambda _guest, _targets, **_more: None
        from sevbuild.guest.locking import LockCheck

        return LockCheck(manifest, path=self.lock_file, settings=settings, frozen=self.frozen)

    def network(self) -> Network:
        """Return whether inputs may be fetched, with the progress on standard error."""
        return network(self.offline)


def network(offline: bool) -> Network:
    """Return whether inputs may be fetched, with the progress on standard error."""
    from sevbuild.guest.inputs import Network

    return Network(offline, shown_progress(), print_message)
