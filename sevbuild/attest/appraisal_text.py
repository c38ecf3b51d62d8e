"""A commented appraisal policy to start from, written of published targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from sevbuild.attest.appraisal import APPRAISAL_SCHEMA
from sevbuild.documents.toml_text import toml_string
from sevbuild.errors import SevbuildError
from sevbuild.text import counted

if TYPE_CHECKING:
    from sevbuild.attest.named_target import NamedTarget

__all__ = ["appraisal_text"]

Item = TypeVar("Item")

_HEAD = """#:schema appraisal.schema.json
# What is accepted of the attestation reports of {guests}.
# `sevbuild verify REPORT --against {source} --appraisal appraisal.toml` holds reports to it;
# `sevbuild schema --of appraisal > appraisal.schema.json` helps the editor.
schema = {schema}

[published]
# Which of the launch digests in --against are accepted: {count}.
{release}
# target = ["vcpus2", "snp/qemu/*"]   # labels, whole parts of them, or globs

[guest]
# The VMPL at which the report is asked for: 0 is the most privileged software in the guest, an SVSM where there
# is one. Behind one, on EC2 and elsewhere, reports have 1 or more.
vmpl = 0
# The guest policy is held to that of the target. Any other stands here; debug lets the host read the guest.
{policy}
"""

_UNSAID = """# host-data = "..."                   # 32 bytes in hex, where the host is to pass something on
"""

_NO_BLOCK = """# What an ID block says; none of the targets was published with one.
# id-key-digest = "..."               # the SHA-384 of the ID key
# guest-svn = 1                       # the least
"""

_PLATFORM = """
[platform]
# product = ["Milan", "Genoa"]
# ALIAS_CHECK_COMPLETE rules out memory whose addresses alias (AMD-SB-3015): Milan from firmware 1.55.22, Genoa 1.55.38.
# required = ["alias-check-complete"]
# forbidden = ["smt"]
# firmware-version = "1.55.40"        # the oldest
# chip-id = ["..."]                   # only these machines

# The least TCB that is accepted, by product: AMD's bulletins say which version mends what. Once one is given, a
# product that is not listed is refused.
# [minimum-tcb.Milan]
# boot-loader = 4
# tee = 0
# snp = 24
# microcode = 219

[checks]
# Checks that must be made; without them they only are where there is something to hold a report to. A nonce
# (--report-data) shows that a report is no older one, a list of revoked certificates (--crl) comes from AMD.
{require}
"""


def appraisal_text(targets: Sequence[NamedTarget], releases: Sequence[str], source: str) -> str:
    """Return an appraisal policy that accepts these targets of these releases, which `source` published.

    Raises SevbuildError where none is an SNP target.
    """
    snp = [target for target in targets if target.mode == "snp"]
    if not snp:
        raise SevbuildError(f"{source}: no target has mode snp, and no other guest has a report")
    guests = _each(target.guest for target in snp)
    policies = _each(target.policy for target in snp if target.policy is not None)
    text = _HEAD.format(
        guests=", ".join(guests),
        source=source,
        schema=APPRAISAL_SCHEMA,
        count=f"{counted(len(snp), 'target')} in {source}",
        release=f"release = [{', '.join(map(toml_string, releases))}]"
        if releases
        else "# an IGVM file has no release",
        policy=f"# policy = {' or '.join(f'{policy:#x}' for policy in policies)}",
    )
    return (
        text + _UNSAID + _blocks(snp) + _PLATFORM.format(require='# require = ["report-data", "revocation"]')
    )


def _blocks(targets: Sequence[NamedTarget]) -> str:
    """Return what the ID blocks of the targets say, where every target has one."""
    blocks = [target.id_block for target in targets if target.id_block is not None]
    if len(blocks) < len(targets):
        return _NO_BLOCK
    keys = _each(block.id_key_digest.hex() for block in blocks)
    authors = _each(block.author_key_digest.hex() for block in blocks if block.author_key_digest is not None)
    lines = [
        "# Who signed the ID block of the guest, and the least SVN; ids are held to those of the target."
    ]
    lines.append(f"id-key-digest = [{', '.join(map(toml_string, keys))}]")
    if authors:
        lines.append(f"author-key-digest = [{', '.join(map(toml_string, authors))}]")
    lines.append(f"guest-svn = {min(block.guest_svn for block in blocks)}")
    return "".join(f"{line}\n" for line in lines)


def _each(items: Iterable[Item]) -> list[Item]:
    return list(dict.fromkeys(items))
