"""GUIDs as firmware stores them: mixed-endian, and by name."""

from __future__ import annotations

from sevbuild.errors import SevbuildError

__all__ = ["GUID_NAMES", "format_guid", "parse_guid"]

GUID_NAMES: dict[str, str] = {
    "96b582de-1fb2-45f7-baea-a366c55a082d": "table footer",
    "00f771de-1a7e-4fcb-890e-68c77e2fb44e": "SEV-ES reset block",
    "4c2eb361-7d9b-4cc3-8081-127c90d3d294": "SEV launch secret area",
    "7255371f-3a3b-4b04-927b-1da6efa8d454": "SEV kernel-hashes area",
    "dc886566-984a-4798-a75e-5585a7bf67cc": "SEV metadata offset",
    "e47a6535-984a-4798-865e-4685a7bf8ec2": "TDX metadata offset",
    "784fa70e-3176-4677-8a20-04b68699e374": "IGVM metadata offset",
    "a789a612-0597-4c4b-a49f-cbb1fe9d1ddd": "SVSM entry point",
}
"""The entries of OVMF's footer table (edk2 OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm, COCONUT-SVSM)."""


def format_guid(raw: bytes) -> str:
    """Return the text of 16 bytes in EFI's mixed-endian order."""
    first, second, third = raw[3::-1], raw[5:3:-1], raw[7:5:-1]
    return "-".join(part.hex() for part in (first, second, third, raw[8:10], raw[10:16]))


def parse_guid(text: str) -> bytes:
    """Return the 16 bytes of a GUID's text in EFI's mixed-endian order; raises SevbuildError."""
    parts = text.split("-")
    if [len(part) for part in parts] != [8, 4, 4, 4, 12]:
        raise SevbuildError(f"not a GUID: {text[:60]!r}")
    try:
        raw = [bytes.fromhex(part) for part in parts]
    except ValueError:
        raise SevbuildError(f"not a GUID: {text[:60]!r}") from None
    return raw[0][::-1] + raw[1][::-1] + raw[2][::-1] + raw[3] + raw[4]
