"""Make hello.fd: a firmware of 64 KiB that prints a line and halts, and that every mode can launch.

    python make_firmware.py            write hello.fd beside this script
    python make_firmware.py --check    compare instead, exit 1 if it differs

It is made of a few dozen bytes of real-mode code and of the tables that a hypervisor looks for in OVMF. On
reset an x86 processor starts at 4 GiB - 16 with CS base 0xffff0000, so all 64 KiB are within reach of IP.
"""

from __future__ import annotations

import sys
from pathlib import Path
from uuid import UUID

SIZE = 0x10000  # QEMU's -bios takes multiples of 64 KiB
LINE = b"hello from sevbuild\r\n"

COM1 = 0x3F8  # first serial port: transmit register; line status is at +5
DEBUG_PORT = 0x402  # QEMU's debug console

CODE_AT = 0xF000
PARK_AT = 0xF100
LINE_AT = 0xF200
METADATA_AT = 0xF800
TABLE_END = SIZE - 0x20
RESET_VECTOR_AT = SIZE - 0x10
BASE = 0x100000000 - SIZE

# GPA, size and kind of each section: an ordinary layout, with every kind OVMF has.
SECTIONS = [
    (0x800000, 0x9000, 1),  # SNP_SEC_MEM
    (0x80A000, 0x3000, 1),  # SNP_SEC_MEM
    (0x80D000, 0x1000, 2),  # SNP_SECRETS
    (0x80E000, 0x1000, 3),  # CPUID
    (0x80F000, 0x1000, 4),  # SVSM_CAA
    (0x810000, 0x1000, 0x10),  # SNP_KERNEL_HASHES
    (0x811000, 0xF000, 1),  # SNP_SEC_MEM
]
HASH_TABLE = (0x810C00, 0x400)
SECRET = (0x810800, 0x400)


def u8(value: int) -> bytes:
    """Return an 8-bit immediate or displacement."""
    return (value & 0xFF).to_bytes(1, "little")


def u16(value: int) -> bytes:
    """Return a 16-bit immediate or displacement."""
    return (value & 0xFFFF).to_bytes(2, "little")


def u32(*values: int) -> bytes:
    """Return 32-bit little-endian numbers."""
    return b"".join(value.to_bytes(4, "little") for value in values)


# The instructions used, by mnemonic.
CLI = b"\xfa"
HLT = b"\xf4"
CLD = b"\xfc"
OUT_DX_AL = b"\xee"
IN_AL_DX = b"\xec"
PUSH_AX, POP_AX = b"\x50", b"\x58"
LODSB_CS = b"\x2e\xac"  # AL = [CS:SI], SI += 1; the image is readable through CS alone
OR_AL_AL = b"\x08\xc0"


def mov_dx(value: int) -> bytes:
    """Return `mov dx, value`."""
    return b"\xba" + u16(value)


def mov_si(value: int) -> bytes:
    """Return `mov si, value`."""
    return b"\xbe" + u16(value)


def mov_al(value: int) -> bytes:
    """Return `mov al, value`."""
    return b"\xb0" + u8(value)


def test_al(value: int) -> bytes:
    """Return `test al, value`."""
    return b"\xa8" + u8(value)


def jump_short(opcode: int, distance: int) -> bytes:
    """Return a short jump over `distance` bytes from its own end; 0x74 jz, 0xeb jmp."""
    return bytes([opcode]) + u8(distance)


def jump_near(origin: int, target: int) -> bytes:
    """Return `jmp target` for an instruction that stands at `origin`."""
    return b"\xe9" + u16(target - (origin + 3))


def halt() -> bytes:
    """Return code that stops a processor for good: an interrupt could wake it from a single hlt."""
    return CLI + HLT + jump_short(0xEB, -3)


def boot_code() -> bytes:
    """Return the code of the boot processor."""
    setup = CLI + CLD
    # 115200 baud, 8 data bits, no parity, one stop bit, no interrupts, FIFO on.
    for register, value in ((1, 0x00), (3, 0x80), (0, 0x01), (1, 0x00), (3, 0x03), (2, 0xC7), (4, 0x03)):
        setup += mov_dx(COM1 + register) + mov_al(value) + OUT_DX_AL
    setup += mov_si(LINE_AT)
    # Wait for an empty transmitter (line status bit 5), then send to both ports.
    poll = mov_dx(COM1 + 5) + IN_AL_DX + test_al(0x20)
    poll += jump_short(0x74, -(len(poll) + 2 - len(mov_dx(0))))
    send = POP_AX + mov_dx(COM1) + OUT_DX_AL + mov_dx(DEBUG_PORT) + OUT_DX_AL
    fetch = LODSB_CS + OR_AL_AL
    body = PUSH_AX + poll + send
    over = jump_short(0x74, len(body) + 2)
    loop = fetch + over + body
    return setup + loop + jump_short(0xEB, -(len(loop) + 2)) + halt()


def entry(guid: str, data: bytes) -> bytes:
    """Return an entry of the footer table: data, size of the entry, GUID."""
    return data + u16(len(data) + 18) + UUID(guid).bytes_le


def metadata() -> bytes:
    """Return the SEV metadata: a header, then a descriptor for each section."""
    header = b"ASEV" + u32(16 + 12 * len(SECTIONS), 1, len(SECTIONS))
    return header + b"".join(u32(*section) for section in SECTIONS)


def footer_table() -> bytes:
    """Return the GUIDed table, which is read from its footer downward."""
    table = b"".join(
        [
            entry("dc886566-984a-4798-a75e-5585a7bf67cc", u32(SIZE - METADATA_AT)),  # SEV metadata
            entry("7255371f-3a3b-4b04-927b-1da6efa8d454", u32(*HASH_TABLE)),  # kernel hashes
            entry("4c2eb361-7d9b-4cc3-8081-127c90d3d294", u32(*SECRET)),  # launch secret
            entry("00f771de-1a7e-4fcb-890e-68c77e2fb44e", u32(BASE + PARK_AT)),  # where APs start
        ]
    )
    return table + u16(len(table) + 18) + UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le


def build() -> bytes:
    """Return the image."""
    image = bytearray(b"\xff" * SIZE)

    def put(at: int, data: bytes) -> None:
        image[at : at + len(data)] = data

    put(CODE_AT, boot_code())
    put(PARK_AT, halt())
    put(LINE_AT, LINE + b"\0")
    put(METADATA_AT, metadata())
    table = footer_table()
    put(TABLE_END - len(table), table)
    put(RESET_VECTOR_AT, jump_near(RESET_VECTOR_AT, CODE_AT))
    return bytes(image)


def main(arguments: list[str]) -> int:
    """Write or check the image and return the exit status."""
    paths = [argument for argument in arguments if argument != "--check"]
    path = Path(paths[0]) if paths else Path(__file__).with_name("hello.fd")
    if "--check" not in arguments:
        path.write_bytes(build())
        return 0
    if path.exists() and path.read_bytes() == build():
        return 0
    print(f"{path} is not what this script makes", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
