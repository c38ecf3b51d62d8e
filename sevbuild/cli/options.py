"""Options that several verbs share, and how their values are read."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from sevbuild.cli.parser import COMMON
from sevbuild.cli.report import print_message, shown_progress
from sevbuild.errors import SevbuildError, within
from sevbuild.fs import file_starts_with, read_text

if TYPE_CHECKING:
    from sevbuild.cli.cause import Asking
    from sevbuild.guest.foreign import ForeignLaunch, GivenKernel
    from sevbuild.guest.guest import Guest
    from sevbuild.guest.inputs import Network
    from sevbuild.launch.mode import Mode
    from sevbuild.reference.expected import Run
    from sevbuild.reference.narrow import Selection

__all__ = [
    "DEFAULT_MANIFEST",
    "FOREIGN_MAGIC",
    "MANIFEST",
    "MANIFESTS",
    "MANIFEST_OR_IGVM",
    "MODE",
    "OFFLINE",
    "QUIET",
    "RESULT_FORMAT",
    "SETTINGS",
    "TABLE_FORMAT",
    "TARGETS",
    "VALUES_SOURCE",
    "ExpectOptions",
    "IgvmOptions",
    "LockOptions",
    "check_format",
    "format_option",
    "given_mode",
    "network",
    "read_settings",
    "value_option",
    "wants_json",
]

# No `from __future__ import annotations` here: the kinds of options are read at every start, and would be
# compiled from strings for it.

FOR_IGVM = "For an IGVM file"
LOCKS = "Lock and network"
"""Groups of options in the help."""


def value_option(*names: str, metavar: str, text: str, default: Any = "", panel: str | None = None) -> Any:
    """Return an option that takes a value; what stands for none given is not shown in the help."""
    return typer.Option(
        default, *names, metavar=metavar, help=text, show_default=False, rich_help_panel=panel
    )


_for_igvm = partial(value_option, default=None, panel=FOR_IGVM)


def format_option(*words: str) -> Any:
    """Return the option of an output format, which is one of these words; the first is the default."""
    return typer.Option(words[0], "--format", "-f", metavar="|".join(words), help="The output format.")


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
    help="A manifest (measured now), a reference-values.json, or the folder of a release or bundle.",
)
SETTINGS: Any = value_option(
    "--set",
    metavar="PATH=VALUE",
    text="Override a manifest key by its TOML path; @FILE reads the value.",
    default=[],
)
TARGETS: Any = value_option(
    "--target",
    metavar="LABEL",
    text="Only these targets: a label, whole parts of one (vcpus2), or a glob; may be repeated.",
    default=[],
)
MODE: Any = _for_igvm(
    "--mode", metavar="snp|sev-es|sev", text="The platform to launch it as, if it has several."
)
OFFLINE: Any = typer.Option(
    False,
    "--offline",
    help="Fetch nothing: inputs by URL must be in the cache.",
    rich_help_panel=LOCKS,
)
QUIET: Any = typer.Option(
    False,
    "--quiet",
    "-q",
    help="Print no notes or warnings, and not what was written.",
    rich_help_panel=COMMON,
)
RESULT_FORMAT = format_option("text", "json")
TABLE_FORMAT = format_option("table", "json")


FOREIGN_MAGIC = b"IGVM"
"""What tells an IGVM file from a manifest."""


class LockOptions(NamedTuple):
    """Whether a run is held to a lock, and whether it may fetch."""

    locked: bool = typer.Option(
        False, "--locked", help="Exit 1 unless what is found matches guest.lock.", rich_help_panel=LOCKS
    )
    frozen: bool = typer.Option(
        False, "--frozen", help="As --locked, and exit 2 without a guest.lock.", rich_help_panel=LOCKS
    )
    lock_file: str = value_option(
        "--lock", metavar="FILE", text="As --locked, with this lock instead of guest.lock.", panel=LOCKS
    )
    offline: bool = OFFLINE

    def refuse(self) -> None:
        """Raise SevbuildError for a run without a manifest, where they have no effect."""
        if any(self):
            raise SevbuildError("--locked, --frozen, --lock and --offline are for manifests")

    def load(self, manifest: str, settings: list[str]) -> "tuple[Guest, Callable[..., None]]":
        """Return a guest, and what holds it to its lock: called with it and its targets once read."""
        from sevbuild.guest.guest import load_guest

        held = self.check(manifest, settings)
        return load_guest(manifest, settings=read_settings(settings), network=network(self.offline)), held

    def check(self, manifest: str, settings: list[str]) -> Callable[..., None]:
        """Return what holds a run to its lock, which is read at once; without any, it does nothing."""
        if not (self.locked or self.frozen or self.lock_file):
            return lambda _guest, _targets, **_more: None
        from sevbuild.guest.locking import LockCheck

        return LockCheck(manifest, path=self.lock_file, settings=settings, frozen=self.frozen)


class ExpectOptions(NamedTuple):
    """What a run is held to, of what was published."""

    expect: str = value_option(
        "--expect",
        metavar="HEX|PATH",
        text="Exit 1 unless this matches: a digest, a document, a release, a bundle, or DIGEST  LABEL lines.",
    )
    release: str = value_option(
        "--release",
        metavar="VERSION",
        text="The release to expect, in a document of several. Default: the guest's version.",
    )

    def check(self) -> None:
        """Raise SevbuildError for `--release` without what it is a release of."""
        if self.release and not self.expect:
            raise SevbuildError("--release is for a document given with --expect")

    def hold(
        self, run: "Callable[[], Run]", asking: "Callable[[], Asking] | None" = None, *, quiet: bool
    ) -> None:
        """Raise MismatchError unless a run is what was published; without `--expect` none is made.

        `asking` tells of whom the cause can be asked.
        """
        if self.expect:
            from sevbuild.cli.expectation import hold_to_expected

            hold_to_expected(self.expect, run(), release=self.release, quiet=quiet, asking=asking)


class IgvmOptions(NamedTuple):
    """What a launch adds to an IGVM file, and who launches it."""

    loader: list[str] = _for_igvm(
        "--loader", metavar="NAME|all", text="Load it as this program does; may be repeated.", default=[]
    )
    mode: str | None = MODE
    vcpus: int | None = _for_igvm(
        "--vcpus", metavar="N", text="Start N vCPUs instead of as many as it describes."
    )
    cpu: str | None = _for_igvm("--cpu", metavar="MODEL", text="The CPU of vCPUs it does not describe.")
    with_kernel: str | None = _for_igvm(
        "--with-kernel", metavar="FILE", text="The kernel given to Cloud Hypervisor."
    )
    with_initrd: str | None = _for_igvm("--with-initrd", metavar="FILE", text="The initrd for that kernel.")
    with_cmdline: str | None = _for_igvm(
        "--with-cmdline", metavar="TEXT", text="The command line for that kernel."
    )

    def are_for(self, path: str, lock: LockOptions, others: Mapping[str, object]) -> bool:
        """Return whether an IGVM file is at `path`, and no manifest.

        `others` are the values of flags for manifests, as `lock` has more. Raises SevbuildError for flags of
        the one with the other.
        """
        if file_starts_with(path, FOREIGN_MAGIC):
            lock.refuse()
            for flag, value in others.items():
                if value:
                    raise SevbuildError(f"{flag} is for manifests")
            return True
        self.refuse()
        return False

    def refuse(self) -> None:
        """Raise SevbuildError for a run without an IGVM file, where they have no effect."""
        for name, value in self._asdict().items():
            if value not in ([], None):
                from sevbuild.cli.usage import setting_hint

                flag = f"--{name.replace('_', '-')}"
                raise SevbuildError(f"{flag} is for IGVM files", hint=setting_hint(flag))

    def words(self) -> list[str]:
        """Return the options as they stand on a command line."""
        found = []
        for name, value in self._asdict().items():
            for text in value if isinstance(value, list) else [value]:
                found += [] if text is None else [f"--{name.replace('_', '-')}", str(text)]
        return found

    def launch(self) -> "tuple[ForeignLaunch, GivenKernel | None]":
        """Return what a launch adds to the file, and the kernel beside it, read; raises SevbuildError."""
        from sevbuild.guest.foreign import ForeignLaunch, given_kernel
        from sevbuild.manifest.vcpu_keys import cpu_named

        kernel = None
        if self.with_kernel is not None:
            # The host hashes the empty line where it is given none.
            cmdline = self.with_cmdline or ""
            kernel = given_kernel(self.with_kernel, self.with_initrd, cmdline, shown_progress())
        elif self.with_initrd is not None or self.with_cmdline is not None:
            message = "--with-initrd and --with-cmdline require a kernel"
            raise SevbuildError(message, hint="--with-kernel FILE")
        with within("--cpu"):
            cpu = None if self.cpu is None else cpu_named(self.cpu)
        hashes = None if kernel is None else kernel.hashes
        return ForeignLaunch(self.loader, given_mode(self.mode), self.vcpus, cpu, hashes), kernel

    def selection(self, patterns: Sequence[str]) -> "Selection":
        """Return what `--loader`, `--mode`, `--vcpus` and `--target` narrow a run to."""
        from sevbuild.reference.narrow import Selection

        wanted: dict[str, list[str]] = {}
        if self.loader and "all" not in self.loader:
            wanted["profile"] = self.loader
        if self.mode is not None:
            wanted["mode"] = [self.mode]
        if self.vcpus is not None:
            wanted["vcpus"] = [str(self.vcpus)]
        flags = [("--target", patterns), ("--loader", wanted.get("profile", ()))]
        flags += [(f"--{key}", wanted[key]) for key in ("mode", "vcpus") if key in wanted]
        said = " ".join(f"{flag} {text}" for flag, texts in flags for text in texts)
        return Selection(tuple(patterns), wanted, said)


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
        raise SevbuildError(f"{flag} {value}: unknown value", hint=f"one of {', '.join(known)}")
    return value


def wants_json(fmt: str, other: str = "text") -> bool:
    """Return whether a `--format` is `json`; raises SevbuildError for any word but that and the other one."""
    return check_format(fmt, (other, "json")) == "json"


def given_mode(text: str | None) -> "Mode | None":
    """Return what --mode says; raises SevbuildError for what is no mode."""
    if text is None:
        return None
    from sevbuild.launch.mode import mode_named

    with within(f"--mode {text}"):
        return mode_named(text)


def network(offline: bool) -> "Network":
    """Return whether inputs may be fetched, with the progress on standard error."""
    from sevbuild.guest.inputs import Network

    return Network(offline, shown_progress(), print_message)
