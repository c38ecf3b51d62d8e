"""Reports of hardware and their certificates, changed as somebody on the way could change them.

No change here needs a signature. What is drawn is drawn from one seed, so that each run has the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from struct import pack, unpack_from
from typing import Any, NamedTuple
from uuid import UUID

from sevbuild.attest.product import product_named
from sevbuild.attest.report import REPORT_SIZE, SIGNATURE_OFFSET
from sevbuild.identity.ecdsa import COORDINATE_SIZE, NUMBER_SIZE, ORDER_P384
from tests.support.amd_ca import FIELDS, pem
from tests.support.hardware import chain_of, hardware_report
from tests.support.verifiers import Asked, Parts

__all__ = ["MUTATIONS", "Mutation", "mutants"]

SEED = 9
BASES = ("milan-v3-azure-aci", "genoa-v5-oak", "genoa-v3-routex", "turin-v5-oak")
"""One of each product; Genoa twice, whose chips are two."""
READ_BY_CHECK = BASES[:3]
"""Those that check accepts as they are: of the others it says nothing but that."""
OTHER_CHIPS = {
    "milan-v3-azure-aci": ("milan-v3-azure-cvm", "milan-v2-gcp-automata"),
    "genoa-v5-oak": ("genoa-v3-routex", "genoa-v3-azure-aci"),
    "genoa-v3-routex": ("genoa-v5-oak", "siena-bergamo-v5-attestation-rs"),
    "turin-v5-oak": ("turin-v5-azure-aci", "turin-v5-bitcoin-pir-a"),
}
TCBS = tuple(FIELDS[name][0] for name in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"))
ENTRY = 24
"""The bytes of an entry in the head of a certificate table."""


class Drawn(NamedTuple):
    """What a change may draw from, and which report it is made to."""

    random: Random
    name: str
    parts: Parts
    asked: Asked

    def flip(self, data: bytes, first: int = 0, end: int | None = None) -> bytes:
        """Return bytes with one bit turned over, of those from `first` to `end`."""
        bit = self.random.randrange(8 * first, 8 * (len(data) if end is None else end))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)

    def other(self) -> str:
        """Return a report of another product."""
        product = self.asked.product
        return self.random.choice(
            [
                name
                for name in ("milan-v3-azure-cvm", "genoa-v3-azure-aci", "turin-v5-azure-aci")
                if product.lower() not in name
            ]
        )


class Mutation(NamedTuple):
    """One way to change evidence: how often it is drawn, of which reports, and whom it concerns."""

    times: int
    change: Callable[[Drawn], Parts]
    bases: tuple[str, ...] = BASES
    peers: tuple[str, ...] = ("snpguest", "check")


def given(parts: Parts, name: str) -> bytes:
    """Return a part that is there."""
    found: bytes | None = getattr(parts, name)
    assert found is not None
    return found


def in_report(first: int, end: int) -> Callable[[Drawn], Parts]:
    """Return the change of one bit of a report."""
    return lambda drawn: drawn.parts._replace(report=drawn.flip(drawn.parts.report, first, end))


def in_part(name: str) -> Callable[[Drawn], Parts]:
    """Return the change of one bit of a certificate."""
    return lambda drawn: changed(drawn, name, drawn.flip(given(drawn.parts, name)))


def without(name: str) -> Callable[[Drawn], Parts]:
    """Return the change that leaves out a certificate."""
    return lambda drawn: changed(drawn, name, None)


def changed(drawn: Drawn, name: str, value: bytes | None) -> Parts:
    """Return the parts with another certificate in place of one of them."""
    fields: dict[str, Any] = {name: value}
    return drawn.parts._replace(**fields)


def unused_places(asked: Asked) -> list[int]:
    """Return where a report of a product has the bytes of its TCBs that no part uses."""
    used = {at for _, at in product_named(asked.product).parts}
    return [field + at for field in TCBS for at in range(8) if at not in used]


def signed_bit(drawn: Drawn) -> Parts:
    """Flip a bit of a field that every version has, or one that is reserved and that peers read."""
    unused = unused_places(drawn.asked)
    at = drawn.random.choice([at for at in range(4, SIGNATURE_OFFSET) if at not in unused])
    return in_report(at, at + 1)(drawn)


def unused_tcb_bit(drawn: Drawn) -> Parts:
    at = drawn.random.choice(unused_places(drawn.asked))
    return in_report(at, at + 1)(drawn)


def other_version(drawn: Drawn) -> Parts:
    version = drawn.random.choice((0, 1, 2, 4, 6, 7, 255, 1 << 31))
    return drawn.parts._replace(report=pack("<I", version) + drawn.parts.report[4:])


def signature_padding(drawn: Drawn) -> Parts:
    number = drawn.random.choice((1, 2))
    end = SIGNATURE_OFFSET + NUMBER_SIZE * number
    return in_report(end - (NUMBER_SIZE - COORDINATE_SIZE), end)(drawn)


def cut_report(drawn: Drawn) -> Parts:
    return drawn.parts._replace(report=drawn.parts.report[: drawn.random.randrange(REPORT_SIZE)])


def trailing_bytes(drawn: Drawn) -> Parts:
    rest = drawn.random.randbytes(drawn.random.randrange(1, 40))
    return drawn.parts._replace(report=drawn.parts.report + rest)


def doubled_report(drawn: Drawn) -> Parts:
    return drawn.parts._replace(report=drawn.parts.report * 2)


def twin_signature(drawn: Drawn) -> Parts:
    """Change S to n - S, which is a signature of the same bytes by the nature of ECDSA."""
    at = SIGNATURE_OFFSET + NUMBER_SIZE
    report = bytearray(drawn.parts.report)
    number = ORDER_P384 - int.from_bytes(report[at : at + NUMBER_SIZE], "little")
    report[at : at + NUMBER_SIZE] = number.to_bytes(NUMBER_SIZE, "little")
    return drawn.parts._replace(report=bytes(report))


def unused_bits(drawn: Drawn) -> Parts:
    """Say of the VEK's signature, a BIT STRING of 512 bytes at its end, that some last bits are none."""
    vek = bytearray(given(drawn.parts, "vek"))
    assert vek[-513] == 0
    vek[-513] = drawn.random.randrange(1, 8)
    return drawn.parts._replace(vek=bytes(vek))


def cut_vek(drawn: Drawn) -> Parts:
    vek = given(drawn.parts, "vek")
    return drawn.parts._replace(vek=vek[: drawn.random.randrange(len(vek))])


def vek_with_more(drawn: Drawn) -> Parts:
    return drawn.parts._replace(vek=given(drawn.parts, "vek") + drawn.random.randbytes(8))


def long_length(drawn: Drawn) -> Parts:
    """Write the VEK's outer length in a byte more than it takes: BER, whose signed part is the same."""
    vek = given(drawn.parts, "vek")
    assert vek[:2] == b"\x30\x82"
    return drawn.parts._replace(vek=b"\x30\x83\0" + vek[2:])


def vek_of_another_chip(drawn: Drawn) -> Parts:
    other, _ = hardware_report(drawn.random.choice(OTHER_CHIPS[drawn.name]))
    return drawn.parts._replace(vek=other.vek)


def vek_of_another_product(drawn: Drawn) -> Parts:
    return drawn.parts._replace(vek=hardware_report(drawn.other())[0].vek)


def vlek_for_vcek(drawn: Drawn) -> Parts:
    other, _ = hardware_report("milan-v3-aws-vlek")
    return drawn.parts._replace(vek=other.vek, signer=other.signer, vlek=drawn.random.random() < 0.5)


def chain_of_another_product(drawn: Drawn) -> Parts:
    other, _ = hardware_report(drawn.other())
    return drawn.parts._replace(signer=other.signer, ark=other.ark)


def asvk_for_ask(drawn: Drawn) -> Parts:
    return drawn.parts._replace(signer=chain_of(drawn.asked.product)["asvk"])


def ark_for_ask(drawn: Drawn) -> Parts:
    return drawn.parts._replace(signer=drawn.parts.ark)


def tabled(change: Callable[[Drawn, bytes], bytes]) -> Callable[[Drawn], Parts]:
    """Return the change of what follows the report, its certificate table."""

    def made(drawn: Drawn) -> Parts:
        whole = drawn.parts.whole
        return drawn.parts._replace(behind=change(drawn, whole[REPORT_SIZE:]))

    return made


def head_bit(drawn: Drawn, table: bytes) -> bytes:
    return drawn.flip(table, 0, 4 * ENTRY)


def cut_table(drawn: Drawn, table: bytes) -> bytes:
    return table[: drawn.random.randrange(1, len(table))]


def moved_entries(table: bytes, by: int) -> bytes:
    """Return the entries of a table's head but for its end, what they name moved by so much."""
    entries = b""
    for at in range(0, 3 * ENTRY, ENTRY):
        place, size = unpack_from("<II", table, at + 16)
        entries += table[at : at + 16] + pack("<II", place + by, size)
    return entries


def without_end(_drawn: Drawn, table: bytes) -> bytes:
    """Leave out the entry of zeros that ends the head."""
    return moved_entries(table, -ENTRY) + table[4 * ENTRY :]


def mixed_endian(_drawn: Drawn, table: bytes) -> bytes:
    """Write the GUIDs as UEFI has them, not in the order in which they are printed."""
    head = b""
    for at in range(0, 3 * ENTRY, ENTRY):
        head += UUID(bytes=table[at : at + 16]).bytes_le + table[at + 16 : at + ENTRY]
    return head + table[3 * ENTRY :]


def in_pem(drawn: Drawn) -> Parts:
    return drawn.parts._replace(vek=pem(given(drawn.parts, "vek")))


def doubled_entry(drawn: Drawn, table: bytes) -> bytes:
    """Give a VEK of another chip before the right one, under the same GUID."""
    other, _ = hardware_report(OTHER_CHIPS[drawn.name][0])
    added, vek, head = given(other, "vek"), table[:16], moved_entries(table, ENTRY)
    first = vek + pack("<II", len(table) + ENTRY, len(added))
    entries = (first, head) if drawn.random.random() < 0.5 else (head, first)
    return b"".join(entries) + bytes(ENTRY) + table[4 * ENTRY :] + added


def trailing_table(drawn: Drawn, table: bytes) -> bytes:
    return table + drawn.random.randbytes(drawn.random.randrange(1, 4096))


CHECK = ("check",)
MUTATIONS: dict[str, Mutation] = {
    "a bit of what is signed": Mutation(16, signed_bit),
    "a bit of a TCB that no part uses": Mutation(4, unused_tcb_bit),
    "another version": Mutation(8, other_version),
    "a bit of the signature": Mutation(10, in_report(SIGNATURE_OFFSET, SIGNATURE_OFFSET + COORDINATE_SIZE)),
    "a bit above R or S": Mutation(8, signature_padding, READ_BY_CHECK),
    "a bit that nothing signs": Mutation(
        10, in_report(SIGNATURE_OFFSET + 2 * NUMBER_SIZE, REPORT_SIZE), READ_BY_CHECK
    ),
    "a report cut short": Mutation(6, cut_report),
    "bytes behind the report": Mutation(6, trailing_bytes),
    "a report twice": Mutation(4, doubled_report),
    "the other signature (R, n-S)": Mutation(4, twin_signature, READ_BY_CHECK),
    "a bit of the VEK": Mutation(20, in_part("vek")),
    "unused bits in the VEK's signature": Mutation(4, unused_bits),
    "a VEK cut short": Mutation(5, cut_vek),
    "bytes behind the VEK": Mutation(4, vek_with_more, READ_BY_CHECK),
    "a longer length of the VEK": Mutation(4, long_length, READ_BY_CHECK),
    "a VEK of another chip": Mutation(8, vek_of_another_chip),
    "a VEK of another product": Mutation(6, vek_of_another_product),
    "a VLEK for the VCEK": Mutation(4, vlek_for_vcek),
    "a chain of another product": Mutation(4, chain_of_another_product, READ_BY_CHECK),
    "a bit of the ASK": Mutation(8, in_part("signer"), READ_BY_CHECK),
    "a bit of the ARK": Mutation(8, in_part("ark"), READ_BY_CHECK),
    "the ASVK for the ASK": Mutation(2, asvk_for_ask, READ_BY_CHECK),
    "the ARK for the ASK": Mutation(2, ark_for_ask, READ_BY_CHECK),
    "no VEK": Mutation(3, without("vek")),
    "no ASK": Mutation(3, without("signer"), READ_BY_CHECK),
    "no ARK": Mutation(3, without("ark"), READ_BY_CHECK),
    "a bit of the table's head": Mutation(14, tabled(head_bit), READ_BY_CHECK, CHECK),
    "a table cut short": Mutation(6, tabled(cut_table), READ_BY_CHECK, CHECK),
    "a table without its end": Mutation(3, tabled(without_end), READ_BY_CHECK, CHECK),
    "GUIDs as UEFI has them": Mutation(3, tabled(mixed_endian), READ_BY_CHECK, CHECK),
    "the VEK in PEM": Mutation(3, in_pem, READ_BY_CHECK),
    "two VEKs in a table": Mutation(4, tabled(doubled_entry), READ_BY_CHECK, CHECK),
    "bytes behind the table": Mutation(3, tabled(trailing_table), READ_BY_CHECK, CHECK),
}
"""Each way by its name: 200 inputs in all."""


def mutants() -> Iterator[tuple[str, Parts, Asked]]:
    """Yield what is drawn: the way's name, the changed evidence, and what the unchanged one would hold."""
    for name, mutation in MUTATIONS.items():
        random = Random(f"{SEED} {name}")
        for number in range(mutation.times):
            base = mutation.bases[number % len(mutation.bases)]
            parts, asked = hardware_report(base)
            yield name, mutation.change(Drawn(random, base, parts, asked)), asked
