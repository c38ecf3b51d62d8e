"""The parsers of untrusted bytes that are fuzzed, and what is valid for each of them to begin with."""

from __future__ import annotations

import lzma
import random
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sevbuild.attest.id_block import WantedBlock, check_id_block
from sevbuild.bundle.document import decode_bundle
from sevbuild.bundle.write import build_bundle
from sevbuild.commands.importing.source import import_data, write_draft
from sevbuild.documents.locate import locate
from sevbuild.guest.guest import load_guest
from sevbuild.identity.firmware import GivenIdBlock
from sevbuild.identity.id_auth import IdAuth
from sevbuild.identity.keys import EncryptedKeyError, load_private_key, load_public_key
from sevbuild.identity.signature import Signed, matching_signature
from sevbuild.image.guid import parse_guid
from sevbuild.image.kernel_hashes import ENTRY_GUIDS
from sevbuild.image.lint import describe_firmware, lint_firmware
from sevbuild.image.ovmf import parse_firmware
from sevbuild.image.svsm import place_svsm
from sevbuild.image.uki import cmdline_of, read_uki
from sevbuild.image.verifier import kernel_hash_verifier
from sevbuild.manifest.decode import decode_manifest
from sevbuild.manifest.lock import decode_lock
from sevbuild.manifest.profiles import load_profile
from sevbuild.manifest.targets import expand
from sevbuild.reference.consistency import verify_alone
from sevbuild.reference.document import document_text
from sevbuild.reference.expected import parse_expected
from sevbuild.reference.read import read_reference_values
from sevbuild.reference.recompute import Request
from sevbuild.reference.recompute_request import recompute_document
from sevbuild.vcpu.describe import describe_vmsa
from sevbuild.vcpu.reset import initial_vmsa
from tests.support.cli import run as run_verb
from tests.support.firmware import make_firmware
from tests.support.id_blocks import BLOCK, ID_KEY, private_pem, public_pem, signed
from tests.support.igvm import fuzz_igvm, sample_files
from tests.support.pe import make_uki
from tools.fuzz_trees import bend_json, bend_toml

__all__ = ["TREE", "Target", "targets"]

ROOT = Path(__file__).resolve().parent.parent
LZMA_GUID = "ee4e5898-3914-4259-9d6e-dc7bd79403cf"
TREE = "-tree"
"""What the name of a document that is bent as a tree ends with."""


class Target(NamedTuple):
    """Hold one parser: what it is fed to, valid inputs to begin with, and whether they are text.

    `tree` is what bends an input as a tree, None where inputs are bent as bytes.
    """

    name: str
    feed: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    text: bool
    tree: Callable[[random.Random, bytes], bytes] | None = None


def firmware(data: bytes) -> None:
    """Parse, lint and describe a firmware, as `inspect` does."""
    parsed = parse_firmware(data)
    lint_firmware(parsed, verifier=kernel_hash_verifier(data))
    describe_firmware(parsed)


def svsm(data: bytes) -> None:
    """Place an SVSM below a firmware."""
    place_svsm(data, firmware_gpa=0xFFE00000, vars_size=0x20000)


def id_auth(data: bytes) -> None:
    """Read what authenticates an ID block, check it, and launch with it as the firmware would."""
    block = BLOCK.encode()
    check_id_block(block, data, WantedBlock(key_digest=ID_KEY.public.digest))
    GivenIdBlock.of(block, data, author_key=True).refusal()
    if IdAuth.decode(data, "input").encode()[8:] != data.ljust(4096, b"\0")[8:]:
        raise AssertionError("what was read is not what is written")


def id_key(data: bytes) -> None:
    """Read a private or a public key, an encrypted one with its passphrase."""
    try:
        load_public_key(data, "input")
    except EncryptedKeyError:
        load_private_key(data, "input", b"open")


def id_signature(data: bytes) -> None:
    """Read a signature that was made elsewhere, in whatever form."""
    key = ID_KEY.public
    matching_signature(data, Signed("the ID block", BLOCK.encode(), key, "the ID key"), "input")


def manifest(data: bytes) -> None:
    """Decode a manifest and expand its targets."""
    text = data.decode("utf-8", "surrogateescape")
    locate(text)
    expand(decode_manifest(text, "guest.toml", directory=str(ROOT)))


def profile(data: bytes) -> None:
    """Load a profile of the user's own."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "own.toml").write_bytes(data)
        load_profile("./own.toml", folder)


def uki(data: bytes) -> None:
    """Read the parts of a unified kernel image."""
    parts = read_uki(data, len(data))
    if parts.cmdline is not None:
        cmdline_of(data[parts.cmdline.offset : parts.cmdline.offset + parts.cmdline.size])


def expected(data: bytes) -> None:
    """Read a file of expected digests."""
    parse_expected("expected", data)


def reference_values(data: bytes) -> None:
    """Read reference values, write them again, and hold them to their own ingredients."""
    values = read_reference_values("values.json", data)
    document_text(values).encode()
    verify_alone(values)


def ingredients(data: bytes) -> None:
    """Recompute from a document of someone else's."""
    recompute_document("ingredients.json", data, Request(), [])


def lock(data: bytes) -> None:
    """Read a lock."""
    decode_lock(data.decode("utf-8", "surrogateescape"), "guest.lock")


def bundle(data: bytes) -> None:
    """Read a bundle's document."""
    decode_bundle(data, "bundle.json")


def command(data: bytes) -> None:
    """Import somebody's launch command, and write its manifest."""
    write_draft(import_data(data), source="somebody's")


def bundle_seed() -> bytes:
    """Return the document of a bundle of guests/hello."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "dist"
        build_bundle(load_guest(str(ROOT / "guests/hello/guest.toml")), str(place))
        return (place / "bundle.json").read_bytes()


def reference_seeds() -> tuple[bytes, ...]:
    """Return documents of one release, of two, of an IGVM file, and of a guest that is launched from one."""
    hello = ROOT / "guests/hello"
    one = (hello / "reference-values.json").read_bytes()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = (hello / "guest.toml").read_text().replace('"1.0.0"', '"1.1.0"')
        manifest = manifest.replace('"hello.fd"', f'"{hello / "hello.fd"}"')
        (folder / "guest.toml").write_text(manifest)
        later = run_verb("measure", "-q", "-f", "json", folder / "guest.toml").out
        (folder / "later.json").write_text(later)
        built = ("--set", "launch.profile=qemu-igvm", folder / "guest.toml")
        run_verb("build", "-q", "-o", folder / "dist", *built)
        (file,) = folder.glob("dist/**/*.igvm")
        return (
            one,
            run_verb("merge", hello / "reference-values.json", folder / "later.json").out.encode(),
            run_verb("measure", "-q", "-f", "json", file).out.encode(),
            run_verb("measure", "-q", "-f", "json", *built).out.encode(),
        )


COMMANDS = (
    (
        b"qemu-system-x86_64 -machine q35,confidential-guest-support=s -cpu EPYC-Milan -smp 2 -bios OVMF.fd "
        b"-object sev-snp-guest,id=s,policy=0x30000,kernel-hashes=on -kernel k -initrd i -append 'a b'"
    ),
    b'["qemu-system-x86_64", "-object", "sev-guest,id=s,policy=5", "-machine", "pc", "-bios", "f"]',
    (
        b"#!/bin/sh\nOVMF=/f.fd\nVCPUS=4; export CPU='EPYC-Milan'\nif [ -n \"$X\" ]; then MEM=2G; fi\ncat <<E >log\n$A '\nE\n"
        b'case $1 in a|b) K=1;; *) K=(2 3) ;; esac\nrun() { A=`x`; }\nexec qemu-kvm -smp $VCPUS,maxcpus=${N:-8} -cpu "$CPU" '
        b"-bios ${OVMF} -m $MEM -machine kernel=$K,confidential-guest-support=s -object sev-snp-guest,id=s,policy=$P "
        b'-append "a $(uname -r)" -device loader,addr=0 -drive if=pflash,file=~/x "$@" 2>&1 &\n'
    ),
    b"sev-snp-measure --mode snp --vcpus=4 --vcpu-type=EPYC-v4 --ovmf=OVMF.fd --kernel=k --append=x",
    (
        b"<domain type='kvm'><vcpu>2</vcpu><os><type>hvm</type><loader>f</loader><kernel>k</kernel></os>"
        b"<cpu><model>EPYC</model></cpu><launchSecurity type='sev-snp' kernelHashes='yes'>"
        b"<policy>0x30000</policy></launchSecurity></domain>"
    ),
)


TREES = {
    "manifest": bend_toml,
    "profile": bend_toml,
    "lock": bend_toml,
    "bundle": bend_json,
    "expected": bend_json,
    "reference-values": bend_json,
    "ingredients": bend_json,
    "evidence-json": bend_json,
    "appraisal": bend_toml,
    "envelope": bend_json,
    "plan": bend_json,
}
"""Documents that are bent as trees too, and how."""


def targets() -> list[Target]:
    """Return every parser with valid inputs for it, documents once as bytes and once as trees."""
    plain = byte_targets()
    trees = [
        target._replace(
            name=target.name + TREE,
            tree=TREES[target.name],
            # Of several notations, those that are trees.
            seeds=tuple(
                seed for seed in target.seeds if TREES[target.name] is bend_toml or seed[:1] in (b"{", b"[")
            ),
        )
        for target in plain
        if target.name in TREES
    ]
    return plain + trees


def byte_targets() -> list[Target]:
    """Return every parser with valid inputs for it."""
    from tools.fuzz_appraise import appraise_targets
    from tools.fuzz_attest import attest_targets
    from tools.fuzz_diagnose import diagnose_targets
    from tools.fuzz_sev import sev_targets

    sections = [(0x800000, 0x9000, 1), (0x80D000, 0x1000, 2), (0x80E000, 0x1000, 3), (0x810000, 0x1000, 0x10)]
    images: tuple[bytes, ...] = (
        (ROOT / "guests/hello/hello.fd").read_bytes(),
        make_firmware(size=0x2000, sections=sections, hash_table=(0x810C00, 0x400), secret=(0x80F000, 0xC00)),
        make_firmware(size=0x1000, reset=None),
    )
    # A compressed volume as the search for the hash verifier walks it.
    volume = b"volume" * 5000 + parse_guid(ENTRY_GUIDS["cmdline"])
    packed = bytearray(lzma.compress(volume, format=lzma.FORMAT_ALONE))
    packed[5:13] = len(volume).to_bytes(8, "little")
    header = (24 + len(packed)).to_bytes(3, "little") + b"\x02" + parse_guid(LZMA_GUID) + b"\x18\0\x01\0"
    images += (make_firmware(size=0x2000, fill=(header + packed).ljust(0x2000, b"\0")),)
    module = make_firmware(size=0x4000, sections=sections, svsm_entry=0x100)
    manifests = [path.read_bytes() for path in sorted(ROOT.glob("templates/init/*.toml"))]
    manifests += [path.read_bytes() for path in sorted(ROOT.glob("guests/*/guest.toml"))]
    signing = f'\n[id-block]\nkey = "k"\nkey-digest = "{"ab" * 48}"\nauthor-key = "a"\nauthor-signature = "s"\nguest-svn = 7\n'
    manifests.append(manifests[-1] + signing.encode())
    # A profile of one's own takes no shipped name.
    profiles = [
        re.sub(rb'(?m)^name = ".*"$', b'name = "own"', path.read_bytes())
        for path in sorted(ROOT.glob("sevbuild/profiles/*.toml"))
    ]
    state = load_profile("qemu").rules.launch.vcpu_state("snp", "bsp")
    page = initial_vmsa(state, entry=0xFFFFFFF0, signature=0xA00F11, guest_features=1)
    images_with_kernel = (
        make_uki([(".linux", b"MZ" * 600), (".initrd", b"i" * 700), (".cmdline", b"quiet\0")]),
    )
    digest = b"ab" * 48
    lists = (
        digest,
        digest + b"  snp/qemu/EPYC/vcpus1\n" + digest + b"  snp/qemu/EPYC/vcpus2\n",
        (ROOT / "guests/hello/reference-values.json").read_bytes(),
    )
    ours = reference_seeds()
    if not all(ours):
        raise SystemExit("a document to start from could not be made")
    section = b'{"gpa": 8388608, "size": 36864, "section_type": 1}'
    hashes = b'"kernel_hash": "' + b"ab" * 32 + b'", "initrd_hash": "' + b"cd" * 32 + b'"'
    theirs = b'{"ovmf_hash": "' + digest + b'", ' + hashes + b', "ovmf_sections": [' + section
    theirs += b', {"gpa": 8454144, "size": 4096, "section_type": 16}], "sev_hashes_table_gpa": 8457216, '
    theirs += b'"sev_es_reset_eip": 8433668, "base_cmdline": "a", "vcpus": 2, "vcpu_type": "EPYC-v4", '
    theirs += b'"guest_features": 1}'
    one_vcpu = (
        b'{"TrustedMeasurement": "' + digest + b'", "APEIP": "0080b004", "CPUs": 2, "ProductName": "Milan"}'
    )
    signature = signed().auth.signature
    auths = (signed().auth.encode(), signed(author=True).auth.encode())
    keys = (
        private_pem(ID_KEY),
        private_pem(ID_KEY, passphrase=b"open"),
        public_pem(ID_KEY),
        ID_KEY.public.encode(),
    )
    signatures = (signature.der, signature.encode(144), signature.der.hex().encode())
    return [
        Target("firmware", firmware, images, text=False),
        Target("svsm", svsm, (module,), text=False),
        Target("vmsa", describe_vmsa, (page,), text=False),
        Target("igvm", fuzz_igvm, sample_files(), text=False),
        Target("id-auth", id_auth, auths, text=False),
        Target("id-key", id_key, keys, text=False),
        Target("id-signature", id_signature, signatures, text=False),
        Target("uki", uki, images_with_kernel, text=False),
        Target("manifest", manifest, tuple(manifests), text=True),
        Target("profile", profile, tuple(profiles), text=True),
        Target(
            "lock", lock, tuple(path.read_bytes() for path in ROOT.glob("guests/*/guest.lock")), text=True
        ),
        Target("bundle", bundle, (bundle_seed(),), text=True),
        Target("command", command, COMMANDS, text=True),
        Target("expected", expected, lists, text=True),
        Target("reference-values", reference_values, ours, text=True),
        Target("ingredients", ingredients, (theirs, b"[" + theirs + b"]", one_vcpu), text=True),
        *attest_targets(),
        *appraise_targets(),
        *sev_targets(),
        *diagnose_targets(),
    ]
