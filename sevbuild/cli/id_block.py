"""`sevbuild id-block`: sign what a guest is, here or by somebody else, and look at what was signed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from sevbuild.cli import id_block_options, options
from sevbuild.cli.id_block_options import (
    AUTHOR_KEY,
    AUTHOR_SIGNATURE,
    FILE,
    BlockOptions,
    Launch,
    digest_option,
)
from sevbuild.cli.id_block_report import print_blocks, print_checks
from sevbuild.cli.output import protect, write_outputs
from sevbuild.cli.parser import Application
from sevbuild.cli.passphrase import PassphraseOptions
from sevbuild.cli.report import print_data, print_digests, print_notices
from sevbuild.errors import MismatchError, SevbuildError, within

if TYPE_CHECKING:
    from sevbuild.attest.verdict import Check
    from sevbuild.guest.guest import Guest
    from sevbuild.identity.signed_block import SignedBlock

__all__ = ["id_block"]

FORMATS = ("table", "json", "base64", "qemu", "libvirt")
ONE_AT_A_TIME = ("qemu", "libvirt")
SIGNATURE_FILE = "id-block.sig"
"""What `attach` takes for a block's signature where nothing else is said."""

OUTPUT: Any = options.value_option(
    "--output",
    "-o",
    metavar="DIR",
    text="Write id-block.bin and id-auth.bin there, for several blocks in folders.",
)
FORMAT: Any = options.format_option(*FORMATS)
BLOCK: Any = typer.Argument(
    ...,
    metavar="BLOCK",
    help="An ID block of 96 bytes, the folder it is in, or an IGVM file.",
    show_default=False,
)
AUTH: Any = typer.Argument(
    "", metavar="[AUTH]", help="Its authentication. Default: id-auth.bin beside it.", show_default=False
)

KEYS: Any = typer.Argument(
    ..., metavar="KEY...", help="Private or public keys, in PEM or DER.", show_default=False
)

id_block = Application(name="id-block", help="Sign what a guest is: its ID block, for SNP_LAUNCH_FINISH.")


@id_block.command()
def create(
    file: str | None = FILE,
    *,
    key: str = options.value_option(
        "--key", metavar="FILE", text="The ID key, which signs. Default: that of [id-block]."
    ),
    author_key: str = AUTHOR_KEY,
    author_signature: str = AUTHOR_SIGNATURE,
    output: str = OUTPUT,
    fmt: str = FORMAT,
    target: list[str] = options.TARGETS,
    settings: list[str] = options.SETTINGS,
    block: BlockOptions,
    passphrases: PassphraseOptions,
    lock: options.LockOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Sign the ID block of each SNP target with keys of this machine.

    Signatures are deterministic (RFC 6979). `build` does the same for a manifest with [id-block].
    """
    options.check_format(fmt, FORMATS)
    if output == "-":
        raise SevbuildError("-o -: an ID block is two files", hint="-o DIR; --format base64 prints both")
    launches, guest, notices = block.launches(file, settings, target, lock)
    keys = (key, author_key, author_signature)
    signed = _signed(launches, guest, keys, passphrases)
    print_notices(notices, quiet=quiet)
    if output:
        _write(output, launches, [_files(one) for one in signed], [*keys, file or ""], quiet=quiet)
    elif fmt in ONE_AT_A_TIME and len(signed) > 1:
        raise SevbuildError(
            f"{len(signed)} ID blocks: --format {fmt} shows one", hint="--target LABEL, or -o DIR"
        )
    if not output or fmt != "table":
        print_blocks(fmt, list(zip([launch.labels for launch in launches], signed, strict=True)))


@id_block.command()
def payload(
    file: str | None = FILE,
    *,
    author: bool = typer.Option(
        False, "--author", help="What the author key signs: the 0x404 bytes of the ID key."
    ),
    key: str = options.value_option(
        "--key", metavar="FILE", text="The ID key, for --author; its public half will do."
    ),
    digest: bool = typer.Option(
        False, "--digest", help="The SHA-384 in place of the bytes, for what signs a digest."
    ),
    output: str = options.value_option(
        "--output", "-o", metavar="DIR", text="Write it there; - prints the bytes of one as they are."
    ),
    target: list[str] = options.TARGETS,
    settings: list[str] = options.SETTINGS,
    block: BlockOptions,
    passphrases: PassphraseOptions,
    lock: options.LockOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Write the exact bytes that are to be signed elsewhere: the 96 of each ID block.

    Without -o they are printed in hexadecimal. `attach` takes the signatures.
    """
    from sevbuild.identity.signature import digest_to_sign

    if author:
        if file is not None or target or settings or any(value not in ("", None) for value in block):
            raise SevbuildError("--author: the author key signs the ID key, whatever the guest")
        lock.refuse()
        if not key:
            raise SevbuildError("--author requires the ID key", hint="--key FILE")
        passphrases.refuse_author()
        field = id_block_options.public_key(key, passphrases.read().id_key).encode()
        payloads, labels = [("", "id-key", field)], ["the ID key"]
    else:
        if key or any(value not in ("", None) for value in passphrases):
            raise SevbuildError("--key is for --author: an ID block is the same whatever key signs it")
        launches, _, notices = block.launches(file, settings, target, lock)
        print_notices(notices, quiet=quiet)
        folders = id_block_options.folders_of(launches)
        payloads = [
            (folder, "id-block", launch.block.encode())
            for folder, launch in zip(folders, launches, strict=True)
        ]
        labels = [", ".join(launch.labels) for launch in launches]
    if output == "-":
        if len(payloads) > 1:
            raise SevbuildError(f"-o -: {len(payloads)} ID blocks", hint="--target LABEL, or -o DIR")
        print_data(digest_to_sign(payloads[0][2]) if digest else payloads[0][2])
    elif output:
        files = {os.path.join(output, folder, f"{name}.bin"): data for folder, name, data in payloads}
        if digest:
            files.update(
                (os.path.join(output, folder, f"{name}.sha384"), digest_to_sign(data))
                for folder, name, data in payloads
            )
        write_outputs(
            files, protect(documents=[path for path in (key, file) if path]), folders=True, quiet=quiet
        )
    else:
        shown = [digest_to_sign(data) if digest else data for *_, data in payloads]
        print_digests(list(zip(labels, shown, strict=True)))


@id_block.command()
def attach(
    block: str = typer.Argument(
        ...,
        metavar="BLOCK",
        help="An ID block that `payload` wrote, or a folder of them with id-block.sig beside each.",
        show_default=False,
    ),
    *,
    key: str = options.value_option(
        "--key", metavar="FILE", text="The ID key; its public half will do.", default=...
    ),
    signature: str = options.value_option(
        "--signature",
        metavar="FILE",
        text=f"The block's signature, DER or raw. Default: {SIGNATURE_FILE} beside it.",
    ),
    author_key: str = AUTHOR_KEY,
    author_signature: str = AUTHOR_SIGNATURE,
    passphrases: PassphraseOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Put signatures that were made elsewhere beside their ID blocks, as id-auth.bin, once they verify.

    DER, r and s as an HSM has them, or hexadecimal or base64 of either. One over another digest than
    SHA-384 is refused by its name.
    """
    from sevbuild.fs import read_file
    from sevbuild.guest.id_block_files import block_paths
    from sevbuild.guest.id_blocks import AUTH_FILE
    from sevbuild.identity.id_block import IdBlock
    from sevbuild.identity.signature import SIGNATURE_LIMIT
    from sevbuild.identity.signed_block import signed_by

    paths = block_paths(block)
    if signature and len(paths) > 1:
        raise SevbuildError(f"--signature is of one ID block, and there are {len(paths)}")
    secrets = passphrases.read()
    public = id_block_options.public_key(key, secrets.id_key)
    author = id_block_options.author_part(public, author_key, author_signature, secrets.author_key)
    files: dict[str, bytes] = {}
    for path in paths:
        beside = signature or os.path.join(os.path.dirname(path), SIGNATURE_FILE)
        found = IdBlock.decode(read_file(path, SIGNATURE_LIMIT), path)
        data = read_file(beside, SIGNATURE_LIMIT)
        one = signed_by(found, public, data, beside, author=author)
        files[os.path.join(os.path.dirname(path), AUTH_FILE)] = one.auth.encode()
    given = [path for path in (key, signature, author_key, author_signature) if path]
    write_outputs(files, protect(documents=[*given, *paths]), quiet=quiet)


@id_block.command()
def show(block: str = BLOCK, auth: str = AUTH, *, fmt: str = FORMAT) -> None:
    """Show what an ID block says and who signed it, or turn it into what QEMU and libvirt take."""
    options.check_format(fmt, FORMATS)
    from sevbuild.guest.id_block_files import read_signed_block

    signed = read_signed_block(block, auth)
    signed.refuse_unverified(block)
    print_blocks(fmt, [((), signed)])


@id_block.command()
def verify(
    block: str = BLOCK,
    auth: str = AUTH,
    *,
    launch_digest: str = digest_option("--launch-digest", "The launch digest that it must be for."),
    policy: str = options.value_option("--policy", metavar="N", text="The policy that it must be for."),
    key_digest: str = digest_option("--key-digest", "The digest of the ID key."),
    author_key_digest: str = digest_option("--author-key-digest", "The digest of the author key."),
    family_id: str = options.value_option("--family-id", metavar="HEX", text="The family id."),
    image_id: str = options.value_option("--image-id", metavar="HEX", text="The image id."),
    guest_svn: int | None = options.value_option(
        "--guest-svn", metavar="N", text="The security version number.", default=None
    ),
    against: str = options.value_option(
        "--against",
        metavar="PATH",
        text="What was published: it must be the block of a target there, by the key that is named there.",
    ),
    fmt: str = options.TABLE_FORMAT,
) -> None:
    """Check an ID block and its authentication, and say of each check what holds.

    What is not given is not checked, and said to be so. Exit 1 where a check fails.
    """
    from sevbuild.attest.id_block import WantedBlock, check_id_block
    from sevbuild.guest.id_block_files import read_block_file

    as_json = options.wants_json(fmt, "table")
    sizes = {
        "--launch-digest": 48,
        "--key-digest": 48,
        "--author-key-digest": 48,
        "--family-id": 16,
        "--image-id": 16,
    }
    texts = (launch_digest, key_digest, author_key_digest, family_id, image_id)
    digests = [_hex(name, text, size) for (name, size), text in zip(sizes.items(), texts, strict=True)]
    wanted = WantedBlock(
        launch_digest=digests[0],
        policy=id_block_options.policy_number(policy) if policy else None,
        key_digest=digests[1],
        author_key_digest=digests[2],
        family_id=digests[3],
        image_id=digests[4],
        guest_svn=guest_svn,
    )
    found = read_block_file(block, auth)
    checks: list[Check] = []
    if against:
        from sevbuild.bundle.published import read_values
        from sevbuild.identity.id_block import IdBlock
        from sevbuild.reference.id_blocks import published_block

        source, values = read_values(against)
        check, said = published_block(values, IdBlock.decode(found.block, found.source), source)
        checks, wanted = [check], wanted.over(said)
    checks += check_id_block(found.block, found.auth, wanted)
    if as_json:
        from sevbuild.documents.json_text import json_text

        print_data(
            json_text({"schema": 1, "block": found.source, "checks": [one._asdict() for one in checks]})
        )
    else:
        print_checks(found.source, checks)
    failures = [check for check in checks if check.status == "fail"]
    if failures:
        names = ", ".join(check.name for check in failures)
        raise MismatchError(f"{found.source}: {names}: {'does' if len(failures) == 1 else 'do'} not hold")


@id_block.command("key-digest")
def key_digest(
    keys: list[str] = KEYS,
    *,
    fmt: str = options.format_option("hex", "base64"),
    passphrases: PassphraseOptions,
) -> None:
    """Print the digest by which reports show a key: the SHA-384 of its 0x404 bytes."""
    options.check_format(fmt, ("hex", "base64"))
    passphrases.refuse_author()
    passphrase = passphrases.read().id_key
    print_digests([(path, id_block_options.public_key(path, passphrase).digest) for path in keys], fmt)


def _signed(
    launches: Sequence[Launch],
    guest: Guest | None,
    keys: tuple[str, str, str],
    passphrases: PassphraseOptions,
) -> list[SignedBlock]:
    """Return the blocks signed, with the keys that are given or else with those of the manifest."""
    from sevbuild.identity.signed_block import sign_block

    key, author_key, author_signature = keys
    secrets = passphrases.read()
    if key:
        opened = id_block_options.private_key(key, secrets.id_key)
        author = id_block_options.author_part(opened.public, author_key, author_signature, secrets.author_key)
        return [sign_block(launch.block, opened, author) for launch in launches]
    if author_key or author_signature:
        raise SevbuildError("--author-key requires --key", hint="the ID key that the author signs")
    if guest is None or guest.id_blocks is None:
        hint = "--key FILE, or key in [id-block] of a manifest; `payload` is for keys that are elsewhere"
        raise SevbuildError("there is no ID key to sign with", hint=hint)
    guest.id_blocks.unlock(secrets)
    variants = {target.label: target.variant for target in guest.targets}
    return [guest.id_blocks.sign(variants[launch.labels[0]], launch.block) for launch in launches]


def _files(signed: SignedBlock) -> dict[str, bytes]:
    from sevbuild.guest.id_blocks import AUTH_FILE, BLOCK_FILE

    return {BLOCK_FILE: signed.block.encode(), AUTH_FILE: signed.auth.encode()}


def _write(
    output: str,
    launches: Sequence[Launch],
    made: Sequence[Mapping[str, bytes]],
    given: Sequence[str],
    *,
    quiet: bool,
) -> None:
    folders = id_block_options.folders_of(launches)
    files = {
        os.path.normpath(os.path.join(output, folder, name)): data
        for folder, one in zip(folders, made, strict=True)
        for name, data in one.items()
    }
    write_outputs(files, protect(documents=[path for path in given if path]), folders=True, quiet=quiet)


def _hex(name: str, text: str, size: int) -> bytes | None:
    from sevbuild.documents.document import parse_hex

    if not text:
        return None
    with within(name):
        return parse_hex(text, size)
