"""`sevbuild session`: what the owner of an SEV or SEV-ES guest does before, during and after a launch."""

from __future__ import annotations

import os
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli import options
from sevbuild.cli.output import patience, print_wrote_folder
from sevbuild.cli.parser import Application
from sevbuild.cli.report import print_error, print_line, print_text, print_warning
from sevbuild.cli.session_options import POLICY, RELEASE, FirmwareOptions, KeyOptions, read_number
from sevbuild.errors import MismatchError, SevbuildError, within

if TYPE_CHECKING:
    from sevbuild.appraise.sev_session import Verified
    from sevbuild.identity.host_report import HostReport
    from sevbuild.identity.launch_secret import Secret
    from sevbuild.identity.sev_session import TransportKeys

__all__ = ["session"]

_SOURCES = "A bundle, reference-values.json, a release, or a launch digest"
_LARGEST_POLICY = 0xFFFFFFFF

CERTIFICATES: Any = typer.Argument(
    ...,
    metavar="CERTIFICATES...",
    help="The platform's certificates, from PDH to CEK, and to ARK where they are there: files as sevctl, "
    "sev-tool and QEMU write them, or folders of .cert files.",
    show_default=False,
)
HOST: Any = typer.Argument(
    ...,
    metavar="HOST...",
    help="What the host reports, in files; - is standard input: the answers of QEMU to "
    "query-sev-launch-measure and query-sev, the lines of `virsh domlaunchsecinfo`, or measurement and nonce.",
    show_default=False,
)
HOST_FILES: Any = options.value_option(
    "--host", metavar="FILE", text="What the host reports; may be repeated.", default=[]
)
SOURCE: Any = typer.Argument(..., metavar="SOURCE", help=f"{_SOURCES}.", show_default=False)
AGAINST: Any = options.value_option("--against", metavar="SOURCE", text=f"{_SOURCES}.", default=...)
SECRETS: Any = options.value_option(
    "--secret",
    metavar="GUID:FILE",
    text="A secret by its GUID, or luks-key, and the file it is in; may be repeated.",
    default=...,
)

session = Application(
    name="session", help="Be the owner of an SEV or SEV-ES guest: session, measurement, secrets."
)


@session.command()
def create(
    certificates: list[str] = CERTIFICATES,
    *,
    policy: str = options.value_option(
        "--policy", metavar="N", text="The guest's policy, decimal or 0x....", default=...
    ),
    output: str = options.value_option(
        "--output", "-o", metavar="DIR", text="The folder to write.", default=...
    ),
    name: str = typer.Option("vm", "--name", "-n", metavar="NAME", help="What the files' names begin with."),
    fmt: str = options.RESULT_FORMAT,
) -> None:
    """Make a session with one platform, whose certificates are verified up to AMD's root key.

    Writes NAME_godh.b64 and NAME_session.b64 for the host (QEMU's dh-cert-file and session-file), and the
    keys to keep: NAME_tik.bin, NAME_tek.bin and, both in one, NAME_tk.bin.
    """
    from sevbuild.appraise.sev_session import read_chain
    from sevbuild.identity.owner_files import owner_files, session_warnings
    from sevbuild.identity.sev_chain import verified_chain
    from sevbuild.identity.sev_session import create_session
    from sevbuild.output.folder import write_folder

    as_json = options.wants_json(fmt)
    number = read_number("--policy", policy, _LARGEST_POLICY)
    chain = verified_chain(read_chain(certificates))
    warnings = session_warnings(chain, number)
    files, private = owner_files(create_session(chain.pdh, number, os.urandom), name)
    write_folder(output, files, private=private, patience=patience())
    for text in warnings:
        print_warning(text)
    if as_json:
        _print_json(
            product=chain.product, policy=f"{number:#x}", files=sorted(files), sha256=chain.fingerprints
        )
    else:
        from sevbuild.cli.tables import facts_text

        facts = [("policy", f"{number:#x}"), *chain.fingerprints.items()]
        print_text(facts_text(f"a session with a platform of AMD's {chain.product}", facts, 8))
    print_wrote_folder(output)


@session.command()
def measurement(
    source: str = SOURCE,
    *,
    host: list[str] = HOST_FILES,
    target: list[str] = options.TARGETS,
    release: str = RELEASE,
    policy: str = POLICY,
    keys: KeyOptions,
    firmware: FirmwareOptions,
    fmt: str = options.format_option("base64", "hex", "json"),
) -> None:
    """Print the 48 bytes that a platform answers LAUNCH_MEASURE with, for each target.

    They are the measurement and its nonce, as query-sev-launch-measure has them. This proves nothing by
    itself: `session verify` compares.
    """
    from sevbuild.appraise.sev_session import measured_launch, owned_targets

    options.check_format(fmt, ("base64", "hex", "json"))
    bound = _policy(policy)
    report = firmware.report(host)
    if report.nonce is None:
        raise SevbuildError("the nonce is not known: --nonce, or --host with what the host reports")
    own = keys.read()
    if not any(own.tik):
        print_warning(
            "a TIK of zeros proves nothing: whoever runs the host can make any measurement under it"
        )
    targets = owned_targets(source, target, release)
    blobs = [
        (item.name, measured_launch(item, report, bound).blob(own.tik, report.nonce)) for item in targets
    ]
    if fmt == "json":
        _print_json(values=[{"target": name, "measurement": _base64(blob)} for name, blob in blobs])
        return
    from sevbuild.cli.report import print_digests

    print_digests(blobs, fmt)


@session.command()
def verify(
    host: list[str] = HOST,
    *,
    against: str = AGAINST,
    target: list[str] = options.TARGETS,
    release: str = RELEASE,
    policy: str = POLICY,
    keys: KeyOptions,
    firmware: FirmwareOptions,
    fmt: str = options.RESULT_FORMAT,
) -> None:
    """Tell whether a launched guest is the one that was published, and which target of it.

    Exit 1 where it is not, with the mistake that would explain it: numbers in the other notation, keys
    swapped, another policy, another target. A measurement under a TIK of zeros never passes.
    """
    as_json = options.wants_json(fmt)
    report, own = firmware.report(host), keys.read()
    try:
        found = _verified(report, own, against, target, release, policy)
    except MismatchError as error:
        if not as_json:
            raise
        refused = error
    else:
        if as_json:
            _print_verified(found)
        else:
            _print_pass(found)
        return
    _print_json(status="fail", reasons=[refused.message, *refused.details])
    print_error(refused)
    raise typer.Exit(refused.exit_code)


@session.command()
def secret(
    host: list[str] = HOST,
    *,
    secrets: list[str] = SECRETS,
    header: str = options.value_option(
        "--header", metavar="FILE", text="Where to write the packet's header.", default=...
    ),
    payload: str = options.value_option(
        "--payload", metavar="FILE", text="Where to write the encrypted table.", default=...
    ),
    against: str = options.value_option(
        "--against", metavar="SOURCE", text=f"{_SOURCES}, which the measurement must match."
    ),
    unverified: bool = typer.Option(
        False, "--unverified", help="Make it for this measurement without verifying that."
    ),
    target: list[str] = options.TARGETS,
    release: str = RELEASE,
    policy: str = POLICY,
    keys: KeyOptions,
    firmware: FirmwareOptions,
    binary: bool = typer.Option(
        False, "--binary", help="Write bytes as they are, not the base64 that QEMU and libvirt take."
    ),
) -> None:
    """Encrypt secrets for a guest whose measurement is the right one, and for no other.

    The packet can be opened by this launch alone: LAUNCH_SECRET refuses it in any other.
    """
    from sevbuild.cli.output import protect, write_outputs
    from sevbuild.identity.launch_secret import packet_for

    if bool(against) == unverified:
        hint = "--against SOURCE; or --unverified, where another program has verified the measurement"
        raise SevbuildError("a secret is for a guest that was verified", hint=hint)
    if unverified and (target or release or policy):
        raise SevbuildError("--target, --release and --policy are for --against")
    if os.path.realpath(header) == os.path.realpath(payload):
        raise SevbuildError("--header and --payload name one file")
    report, own = firmware.report(host), keys.read()
    if not own.tek:
        raise SevbuildError("a secret is encrypted with the TEK: --tek FILE, --tk FILE or --session DIR")
    if not any(own.tik) or not any(own.tek):
        raise SevbuildError("keys of zeros keep no secret: whoever runs the host has them as well")
    entries = [_secret(text) for text in secrets]
    if not unverified:
        found = _verified(report, own, against, target, release, policy)
        _print_pass(found)
    packet = packet_for(entries, own, report, os.urandom)
    parts = packet if binary else [_base64(part).encode() for part in packet]
    given = [*host, against, *keys, *(text.partition(":")[2] for text in secrets)]
    if keys.session:
        given += [os.path.join(keys.session, name) for name in os.listdir(keys.session)]
    protected = protect(documents=[path for path in given if path not in ("", "-")])
    hint = "--header and --payload name other files"
    write_outputs(dict(zip((header, payload), parts, strict=True)), protected, hint=hint)


def _verified(
    report: HostReport, keys: TransportKeys, against: str, target: list[str], release: str, policy: str
) -> Verified:
    from sevbuild.appraise.sev_session import owned_targets, verify_launch

    return verify_launch(report, keys, owned_targets(against, target, release), _policy(policy))


def _print_pass(found: Verified) -> None:
    for target in found.targets:
        print_line(f"pass: {target.name}, policy {found.launch.policy:#x}")


def _print_verified(found: Verified) -> None:
    _print_json(
        status="pass",
        targets=[target.name for target in found.targets],
        policy=f"{found.launch.policy:#x}",
        digest=found.launch.digest.hex(),
        measurement=_base64(found.measure + found.nonce),
    )


def _print_json(**entry: Any) -> None:
    """Print a document of docs/sev-guest-owner.md, with the version of its shape."""
    from sevbuild.cli.report import print_data
    from sevbuild.documents.json_text import json_text

    print_data(json_text({"schema": 1, **entry}))


def _policy(text: str) -> int | None:
    return read_number("--policy", text, _LARGEST_POLICY) if text else None


def _secret(text: str) -> Secret:
    from sevbuild.fs import read_file
    from sevbuild.identity.launch_secret import MOST_BYTES, Secret, secret_guid

    name, colon, path = text.partition(":")
    if not colon or not path:
        raise SevbuildError(f"--secret {text}: not of the form GUID:FILE", hint="such as luks-key:key.txt")
    with within(f"--secret {name}"):
        guid = secret_guid(name)
    return Secret(guid, read_file(path, MOST_BYTES))


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
