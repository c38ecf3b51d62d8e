"""What is fuzzed of others that tells launches apart: logs and traces, plans, and files that are compared."""

from __future__ import annotations

import json
import tempfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from sevbuild.diagnose.differences.cmdlines import compare_lines, shown_line
from sevbuild.diagnose.differences.firmwares import compare_firmwares
from sevbuild.diagnose.differences.kernels import compare_kernels
from sevbuild.diagnose.differences.plan_document import read_plan_document
from sevbuild.diagnose.differences.side_by_side import Trace, causes_of_steps, side_by_side
from sevbuild.diagnose.replay.document import replay_document
from sevbuild.diagnose.replay.replay import Planned, replay_launch
from sevbuild.diagnose.replay.trace import parse_trace
from sevbuild.diagnose.rules.images import code_of
from sevbuild.diagnose.rules.setup_header import patched_header, with_device_tree
from sevbuild.diagnose.rules.unified import parts_of_image
from sevbuild.diagnose.vmsa_dump import compare_dump, dump_document, dump_lines
from sevbuild.diagnose.wanted import wanted_of_bytes
from sevbuild.errors import SevbuildError
from sevbuild.identity.id_block import IdBlock
from sevbuild.image.ovmf import Firmware, parse_firmware
from sevbuild.launch.plan import LaunchPlan
from sevbuild.text import decode_text
from tests.support.firmware import standard_firmware, variable_volume
from tests.support.kernel_log import vmsa_log
from tests.support.kernels import boot_image
from tests.support.launches import launching_guest, plan_json
from tests.support.pe import make_uki
from tests.support.shared import ROOT
from tests.support.traces import json_trace, own_events, qemu_trace
from tools.fuzz_targets import Target

__all__ = ["diagnose_targets"]

_MOST_BYTES = 16 << 20
"""What an input may have launched: to hash more takes longer than an input may, whoever read it."""


def diagnose_targets() -> list[Target]:
    """Return the parsers of logs with valid inputs for them."""
    plans = [_plan(mode) for mode in ("snp", "sev-es", "sev")]
    logs = tuple(
        qemu_trace(plan, prefix=prefix, form=form).encode()
        for plan in plans
        for prefix, form in (("", "src"), ("12@1700000000.5:", "addr"), ("", "type"))
    )
    own = tuple(json_trace(own_events(plan)).encode() for plan in plans)
    pages = [update.data for update in plans[0].vmsas if isinstance(update.data, bytes)]
    dumps = tuple(
        vmsa_log(pages * 2, size, prefix).encode() for size in (1648, 1032) for prefix in ("", "[  1.5] ")
    )
    return [
        Target("trace-events", _replayed(plans), logs, text=True),
        Target("trace-lines", _replayed(plans), own, text=True),
        Target("vmsa-dump", _compared(plans[0]), dumps, text=True),
        Target("expected", _expected, expected_samples(), text=False),
        *difference_targets(),
    ]


def expected_samples() -> tuple[bytes, ...]:
    """Return what may be given as the digest that was expected."""
    digest, block = bytes(range(48)), IdBlock(bytes(range(48)), 0x30000).encode()
    return digest, digest.hex().encode(), b64encode(digest), block, b64encode(block), b"sha384:" + b"ab" * 48


def difference_targets() -> list[Target]:
    """Return what `diff` reads of its own, and what it compares, with valid inputs for each."""
    plans = tuple(plan_json(mode) for mode in ("snp", "sev-es", "sev"))
    firmware = parse_firmware(standard_firmware())
    head = bytearray(boot_image())
    return [
        Target("plan", _plans, plans, text=True),
        Target("firmware-pair", lambda data: _firmwares(firmware, data), (firmware.data,), text=False),
        Target("kernel-pair", lambda data: _kernels(bytes(head), data), (bytes(head),), text=False),
        Target(
            "kernel-as-loaded", _as_loaded, (bytes(head), make_uki([(".linux", bytes(head))])), text=False
        ),
        Target("flash-image", _code, (variable_volume(0x1000) + firmware.data,), text=False),
        Target("cmdline-pair", _cmdlines, (b"a b=1 'c d' \"e f\"\n", b"console=ttyS0  quiet\0"), text=True),
    ]


def _expected(data: bytes) -> None:
    """Read what was expected; what is none of its forms counts as refused."""
    if wanted_of_bytes(data, "expected") is None:
        raise SevbuildError("none of the forms that are no document")


def _plans(data: bytes) -> None:
    plans = read_plan_document("plan.json", data)
    trace = Trace(plans[0].plan, plans[0].digests, recorded=True)
    other = Trace(plans[-1].plan._replace(policy=0), plans[-1].digests, recorded=True)
    launches = side_by_side((plans[0].label, plans[-1].label), trace, other)
    if launches.digests[0] == launches.digests[1] and launches.parts_at is not None:
        raise AssertionError("launches of one digest part")
    causes_of_steps(launches)


def _firmwares(firmware: Firmware, data: bytes) -> None:
    compare_firmwares(firmware, parse_firmware(data))


def _kernels(kernel: bytes, data: bytes) -> None:
    compare_kernels(kernel, data)


def _as_loaded(data: bytes) -> None:
    """Write a kernel's header and append a device tree, or take it for a unified kernel image."""
    try:
        written = b"".join(patched_header(data, 0x7FFD7FFF, len(data)))
    except SevbuildError:
        parts_of_image(lambda: data)
        return
    appended = b"".join(with_device_tree(data, b"tree"))
    if len(written) != len(data) or not appended.startswith(data):
        raise AssertionError("more than the header was written")


def _code(data: bytes) -> None:
    code = code_of(data)
    if code is None:
        raise SevbuildError("no variables before the code")
    parse_firmware(code)


def _cmdlines(data: bytes) -> None:
    line = decode_text(data)
    found = compare_lines("a b=1 quiet", line)
    if not found.details and line != "a b=1 quiet":
        raise AssertionError("nothing is said")
    shown_line(line)


def _plan(mode: str) -> LaunchPlan:
    with tempfile.TemporaryDirectory() as folder:
        guest = launching_guest(Path(folder), launch={"mode": mode}, kernel={"path": "vmlinuz"})
        return guest.plan(guest.targets[0])


def _replayed(plans: list[LaunchPlan]) -> Callable[[bytes], object]:
    def feed(data: bytes) -> None:
        trace = parse_trace(decode_text(data), "input", str(ROOT))
        for launch in trace.launches[:2]:
            if sum(update.length for update in launch.updates) > _MOST_BYTES:
                continue
            for plan in (None, *plans):
                found = replay_launch(trace, launch, None if plan is None else Planned("plan", plan))
                json.dumps(replay_document(found))
                if found.parting is None and not found.ran.finished:
                    raise AssertionError("a launch that did not end passed")

    return feed


def _compared(plan: LaunchPlan) -> Callable[[bytes], object]:
    def feed(data: bytes) -> None:
        found = compare_dump(decode_text(data), plan, "input")
        json.dumps(dump_document(found))
        if not dump_lines(found):
            raise AssertionError("nothing is said")

    return feed
