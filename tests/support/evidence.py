"""Evidence of every form around a report of our own, for what takes it apart."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import new, sha256
from struct import pack
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from sevbuild.attest.report import FirmwareVersion, Report

__all__ = [
    "FORMS_OF_OURS",
    "PCRS",
    "binding",
    "compact",
    "dstack",
    "dstack_1",
    "hcl",
    "message",
    "message_pack",
    "quote",
    "runtime",
    "table",
    "trustee",
    "tsm",
    "tsm_cbor",
]

_GUIDS = {
    "VCEK": "63da758de6644564adc5f4b93be8accd",
    "VLEK": "a8074bc2a25a483eaae639c045a0b8a1",
    "ASK": "4ab7b379bbac4fe4a02f05aef327c782",
    "ARK": "c0b406a4a803495297433fb6014cd0ae",
}
PCRS = tuple(sha256(bytes([number])).digest() for number in range(24))
_TPM_KEY = rsa.generate_private_key(65537, 2048)


def table(certificates: Mapping[str, bytes]) -> bytes:
    """Return a certificate table with these entries, by kind."""
    at, head, body = 24 * (len(certificates) + 1), b"", b""
    for kind, data in certificates.items():
        head += bytes.fromhex(_GUIDS[kind]) + pack("<II", at + len(body), len(data))
        body += data
    return head + bytes(24) + body


def tsm(report: bytes, **parts: str | bytes) -> bytes:
    """Return what configfs-tsm has as JSON."""
    encoded = {
        name: part if isinstance(part, str) else urlsafe_b64encode(part).decode().rstrip("=")
        for name, part in {"outblob": report, **parts}.items()
    }
    return json.dumps(encoded).encode()


def trustee(report: Report, **bent: Any) -> dict[str, Any]:
    """Return Trustee's evidence of a report, with some of its fields bent."""
    product = report.product
    assert product is not None

    def tcb(version: int) -> dict[str, int | None]:
        parts = product.tcb(version)._asdict()
        return {"bootloader": parts.pop("boot_loader"), **parts}

    def version(value: FirmwareVersion) -> dict[str, int]:
        return value._asdict()

    fields: dict[str, Any] = {
        "version": report.version,
        "guest_svn": report.guest_svn,
        "policy": report.policy,
        "vmpl": report.vmpl,
        "sig_algo": report.signature_algo,
        "plat_info": report.platform_info,
        "key_info": int.from_bytes(report.raw[0x48:0x4C], "little"),
        "current": version(report.current_version),
        "committed": version(report.committed_version),
        "signature": {"r": list(report.raw[0x2A0:0x2E8]), "s": list(report.raw[0x2E8:0x330])},
    }
    for name, value in report._asdict().items():
        if name in ("raw", "signature"):
            continue
        if name.endswith("_tcb"):
            fields[name] = tcb(value)
        elif isinstance(value, bytes):
            fields[name] = list(value)
        elif name.startswith("cpuid") or name.endswith("_mit_vector"):
            fields[name] = value
    return {"attestation_report": {**fields, **bent}, "cert_chain": None}


def compact(size: int) -> bytes:
    """Return a size as SCALE has it."""
    if size < 1 << 6:
        return bytes([size << 2])
    if size < 1 << 14:
        return (size << 2 | 1).to_bytes(2, "little")
    return (size << 2 | 2).to_bytes(4, "little")


def dstack(report: bytes, *certificates: bytes, rest: bytes = b"\0") -> bytes:
    """Return an attestation of dstack."""
    parts = (report, *certificates)
    each = [compact(len(part)) + part for part in parts]
    return b"\0\x03" + each[0] + compact(len(certificates)) + b"".join(each[1:]) + rest


def message_pack(value: Any) -> bytes:
    """Return a value as MessagePack, each in the form that rmp-serde gives it."""
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, dict):
        body = b"".join(message_pack(key) + message_pack(entry) for key, entry in value.items())
        return _counted(len(value), {0: 0x80, 2: 0xDE, 4: 0xDF}) + body
    if isinstance(value, list):
        return _counted(len(value), {0: 0x90, 2: 0xDC, 4: 0xDD}) + b"".join(map(message_pack, value))
    raw = value if isinstance(value, bytes) else value.encode()
    heads = {1: 0xC4, 2: 0xC5, 4: 0xC6} if raw is value else {0: 0xA0, 1: 0xD9, 2: 0xDA, 4: 0xDB}
    return _counted(len(raw), heads, 32) + raw


def _whole(value: int) -> bytes:
    if -0x20 <= value < 0x80:
        return bytes([value & 0xFF])
    signed = value < 0
    size = next(size for size in range(4) if -(1 << (8 << size) - 1) <= value < 1 << (8 << size) - signed)
    return bytes([(0xD0 if signed else 0xCC) + size]) + value.to_bytes(1 << size, "big", signed=signed)


def _counted(count: int, heads: Mapping[int, int], few: int = 16) -> bytes:
    for size, head in heads.items():
        if size == 0 and count < few:
            return bytes([head | count])
        if size and count < 1 << 8 * size:
            return bytes([head]) + count.to_bytes(size, "big")
    raise AssertionError


def dstack_1(report: bytes, *certificates: bytes, **bent: Any) -> bytes:
    """Return an attestation of dstack of version 1; `platform` and `data` bend it."""
    data = {"report": list(report), "cert_chain": [list(one) for one in certificates], "mr_config": "{}"}
    platform = {"kind": "sev-snp", "data": {**data, **bent.pop("data", {})}, **bent.pop("platform", {})}
    stack = {"kind": "dstack", "data": {"report_data": [7] * 64, "runtime_events": [], "config": "x" * 300}}
    return message_pack({"version": 1, "platform": platform, "stack": stack, **bent})


def tsm_cbor(report: bytes, **parts: str | bytes) -> bytes:
    """Return what configfs-tsm has as CBOR."""
    body = b""
    for name, part in {"outblob": report, **parts}.items():
        for value in (name, part):
            raw = value.encode() if isinstance(value, str) else value
            kind = 0x60 if isinstance(value, str) else 0x40
            wide = next(wide for wide in range(-1, 3) if len(raw) < (24 if wide < 0 else 1 << (8 << wide)))
            size = b"" if wide < 0 else len(raw).to_bytes(1 << wide, "big")
            body += bytes([kind | (len(raw) if wide < 0 else 24 + wide)]) + size + raw
    return bytes([0xA1 + len(parts)]) + body


def runtime(**bent: Any) -> bytes:
    """Return the runtime data of an HCL report, with the key of the TPM in it."""
    numbers = _TPM_KEY.public_key().public_numbers()
    key = {
        "kid": "HCLAkPub",
        "key_ops": ["sign"],
        "kty": "RSA",
        "e": "AQAB",
        "n": urlsafe_b64encode(numbers.n.to_bytes(256, "big")).decode().rstrip("="),
        **bent,
    }
    return json.dumps({"keys": [{"kid": "HCLEkPub"}, key], "user-data": "00"}).encode()


def binding(data: bytes, algorithm: str = "sha256") -> bytes:
    """Return the REPORT_DATA that binds runtime data."""
    return new(algorithm, data).digest().ljust(64, b"\0")


def hcl(report: bytes, data: bytes, *, rest: bytes = bytes(30), **bent: Mapping[int, int]) -> bytes:
    """Return an HCL report; `head` and `data_head` bend its numbers, `rest` is what follows."""
    size = 32 + 1184 + 20 + len(data)
    head = [1, size, 2, 0, 0, 0, 0]
    data_head = [20 + len(data), 1, 2, 1, len(data)]
    for name, numbers in (("head", head), ("data_head", data_head)):
        for at, number in bent.get(name, {}).items():
            numbers[at] = number
    raw = b"HCLA" + pack("<7I", *head) + report + pack("<5I", *data_head) + data
    return raw + rest


def message(nonce: bytes, selected: bytes = b"\xff\xff\xff", **bent: Any) -> bytes:
    """Return the bytes that a TPM signs of its PCRs."""
    numbers = [at for at in range(8 * len(selected)) if selected[at // 8] >> at % 8 & 1]
    digest = sha256(b"".join(PCRS[at] for at in numbers if at < len(PCRS))).digest()
    signed: bytes = (
        bytes.fromhex("ff544347") + bent.get("kind", b"\x80\x18")
        + pack(">H", 2) + b"\0\x0b" + pack(">H", len(nonce)) + nonce + bytes(25)
        + bent.get("banks", pack(">IHB", 1, bent.get("algorithm", 0x0B), len(selected)) + selected)
        + pack(">H", len(digest)) + digest + bent.get("rest", b"")
    )  # fmt: skip
    return signed


def quote(signed: bytes) -> dict[str, Any]:
    """Return a quote as JSON has it."""
    signature = _TPM_KEY.sign(signed, PKCS1v15(), SHA256())
    return {"message": signed.hex(), "signature": signature.hex(), "pcrs": [pcr.hex() for pcr in PCRS]}


FORMS_OF_OURS: dict[str, Callable[[bytes], bytes]] = {
    "hexadecimal": lambda report: report.hex().encode(),
    "base64": b64encode,
    "base64url": lambda report: urlsafe_b64encode(report).rstrip(b"="),
    "lines of base64": lambda report: b"\n".join(
        b64encode(report)[at : at + 64] for at in range(0, 1580, 64)
    ),
    "tsm": tsm,
    "dstack": dstack,
    "dstack 1": dstack_1,
    "dstack 1 in JSON": lambda report: json.dumps({"attestation": dstack_1(report).hex()}).encode(),
    "tsm in CBOR": tsm_cbor,
    "dstack in JSON": lambda report: json.dumps({"attestation": dstack(report).hex()}).encode(),
    "report-and-table": lambda report: report + bytes(24),
    "hcl": lambda report: hcl(report, b"{}"),
}
"""Ways to hand over a report, each as a function of its bytes."""
