"""Appraisals for the verifiers of others: each file by the program that reads it, on hardware's reports.

Where one of them is not on this machine its tests skip; what they are given is told apart everywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sevbuild.attest.appraisal import AppraisalPolicy, Published
from sevbuild.attest.platform_info import PLATFORM_INFO_BITS
from sevbuild.attest.product import Tcb, product_named
from sevbuild.attest.report import FirmwareVersion, Report, decode_report
from sevbuild.errors import SevbuildError
from sevbuild.launch.id_block import ReportedIdBlock
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import appraising_formats, exporter, render
from sevbuild.reference.model import ReferenceValues
from tests.export.support import document, typed
from tests.support.hardware import hardware_report
from tests.support.real import peer_program, tool
from tests.support.verifiers import PEERS, run_check

EMPTY = AppraisalPolicy()
GENOA = Tcb(10, 0, 25, 84)


def reported(name: str = "genoa-v5-oak") -> Report:
    """Return what is in a report of hardware."""
    return decode_report(hardware_report(name)[0].report, name)


def published(
    *digests: bytes, policy: int = 0x30000, block: ReportedIdBlock | None = None
) -> ReferenceValues:
    """Return reference values with these launch digests, each of a target of its own."""
    values = typed(document("matrix"))
    taken = [
        value._replace(digest=digest, policy=policy, id_block=block)
        for value, digest in zip(values.values, digests, strict=False)
    ]
    return values._replace(values=tuple(taken))


def made(fmt: str, values: ReferenceValues, /, policy: AppraisalPolicy = EMPTY, **extra: Any) -> str:
    files = render(fmt, values, ExportOptions(extra, appraisal=policy))
    (data,) = files.values()
    return data.decode()


def check(folder: Path, name: str, config: str) -> int:
    """Return how go-sev-guest's check ends: 0, or 5 for the policy."""
    parts, asked = hardware_report(name)
    PEERS["check"].lay(parts, folder)
    product = [f"-product={asked.product}"] if asked.unsaid else []
    result = run_check(folder, config, "-quiet", *product)
    assert result.returncode in (0, 5), result.stderr
    return result.returncode


RIGHT: list[dict[str, Any]] = [
    {},
    {"policy": 0x30000},
    {"maximum_policy": 0x230000},
    {"minimum_tcb": {"Genoa": GENOA}, "minimum_launch_tcb": {"Genoa": GENOA}},
    {"firmware_version": FirmwareVersion(1, 55, 43)},
    {"platform_required": ("ecc", "alias-check-complete"), "platform_forbidden": ("tsme",)},
    {"host_data": (bytes(32),), "family_ids": (bytes(16),)},
    {"provisional_firmware": True},
]
WRONG: list[dict[str, Any]] = [
    {"vmpls": (1,)},
    {"policy": 0x20000},
    {"maximum_policy": 0x130000},
    {"minimum_tcb": {"Genoa": GENOA._replace(snp=26)}},
    {"minimum_tcb": {"Genoa": GENOA._replace(microcode=85)}},
    {"minimum_launch_tcb": {"Genoa": GENOA._replace(boot_loader=11)}},
    {"firmware_version": FirmwareVersion(1, 56, 0)},
    {"firmware_version": FirmwareVersion(1, 55, 44)},
    {"platform_required": ("rapl-dis",)},
    {"platform_forbidden": ("smt",)},
    {"host_data": (b"\1" * 32,)},
    {"report_data": (b"\1" * 64,)},
    {"family_ids": (b"\1" * 16,)},
    {"image_ids": (b"\1" * 16,)},
    {"guest_svn": 1},
    {"id_keys": (b"\1" * 48,)},
    {"author_keys": (b"\1" * 48,)},
    {"chip_ids": (b"\1" * 64,)},
]


@pytest.mark.parametrize("fields", RIGHT, ids=str)
def test_check_of_go_sev_guest_accepts(tmp_path: Path, fields: dict[str, Any]) -> None:
    report = reported()
    config = made(
        "go-sev-guest", published(report.measurement), AppraisalPolicy(**fields, products=("Genoa",))
    )
    assert check(tmp_path, "genoa-v5-oak", config) == 0


@pytest.mark.parametrize("fields", WRONG, ids=str)
def test_check_of_go_sev_guest_refuses(tmp_path: Path, fields: dict[str, Any]) -> None:
    report = reported()
    config = made(
        "go-sev-guest", published(report.measurement), AppraisalPolicy(**fields, products=("Genoa",))
    )
    assert check(tmp_path, "genoa-v5-oak", config) == 5


def test_check_of_go_sev_guest_takes_the_digest_and_the_id_block_of_the_target(tmp_path: Path) -> None:
    report = reported("milan-v3-azure-aci")
    block = ReportedIdBlock(report.id_key_digest, None, report.family_id, report.image_id, report.guest_svn)
    extra: dict[str, Any] = {"product-line": "Milan"}
    right = made("go-sev-guest", published(report.measurement, policy=report.policy, block=block), **extra)
    assert check(tmp_path, "milan-v3-azure-aci", right) == 0
    for other in (
        block._replace(guest_svn=report.guest_svn + 1),
        block._replace(family_id=b"f" * 16),
        block._replace(image_id=b"i" * 16),
        block._replace(id_key_digest=b"k" * 48),
        block._replace(author_key_digest=b"a" * 48),
    ):
        wrong = made(
            "go-sev-guest", published(report.measurement, policy=report.policy, block=other), **extra
        )
        assert check(tmp_path, "milan-v3-azure-aci", wrong) == 5
    digest = made("go-sev-guest", published(b"\1" * 48, policy=report.policy), **extra)
    assert check(tmp_path, "milan-v3-azure-aci", digest) == 5


# Every report of the vectors that check can verify: its own values are accepted, each changed one is refused.
READ_BY_CHECK = (
    "genoa-v3-azure-aci",
    "genoa-v3-routex",
    "genoa-v5-oak",
    "milan-v2-gcp-automata",
    "milan-v3-azure-aci",
    "milan-v3-azure-cvm",
    "go-sev-guest",
    "virtee-sev",
    "dstack",
    "veraison-json",
)


def exact_policy(report: Report, product: str) -> AppraisalPolicy:
    """Return the policy that accepts a report and nothing else, as far as check can be asked."""
    tcbs = [product_named(product).tcb(tcb) for tcb in (report.reported_tcb, report.launch_tcb)]
    names = [name for name, bit in PLATFORM_INFO_BITS.items() if report.platform_info >> bit & 1]
    return AppraisalPolicy(
        products=(product,),
        vmpls=(report.vmpl,),
        policy=report.policy,
        host_data=(report.host_data,),
        report_data=(report.report_data,),
        family_ids=(report.family_id,),
        image_ids=(report.image_id,),
        guest_svn=report.guest_svn,
        chip_ids=(report.chip_id,),
        firmware_version=report.current_version,
        minimum_tcb={product: tcbs[0]},
        minimum_launch_tcb={product: tcbs[1]},
        platform_required=tuple(name for name in names if name in ("ecc", "alias-check-complete")),
        platform_forbidden=tuple(name for name in ("smt", "tsme") if name not in names),
    )


@pytest.mark.parametrize("name", READ_BY_CHECK)
def test_check_of_go_sev_guest_takes_a_report_with_its_own_values_alone(tmp_path: Path, name: str) -> None:
    report, product = reported(name), hardware_report(name)[1].product
    right = exact_policy(report, product)
    config = partial(made, "go-sev-guest")
    own = published(report.measurement, policy=report.policy)
    assert check(tmp_path, name, config(own, right)) == 0
    (tcb,) = right.minimum_tcb.values()
    changes: tuple[dict[str, Any], ...] = (
        {"vmpls": (3 - report.vmpl,)},
        {"policy": report.policy & ~(1 << 16)},
        {"host_data": (bytes(31) + b"\1",)},
        {"report_data": (bytes(63) + b"\1",)},
        {"image_ids": (bytes(15) + b"\7",)},
        {"guest_svn": report.guest_svn + 1},
        {"chip_ids": (report.chip_id[::-1],)},
        {"firmware_version": report.current_version._replace(build=report.current_version.build + 1)},
        {"minimum_tcb": {product: tcb._replace(microcode=tcb.microcode + 1)}},
        {"platform_required": ("rapl-dis",)},
    )
    for changed in changes:
        assert check(tmp_path, name, config(own, right._replace(**changed))) == 5, changed
    digest = bytes([report.measurement[0] ^ 1]) + report.measurement[1:]
    assert check(tmp_path, name, config(published(digest, policy=report.policy), right)) == 5


# From published ingredients to a report of hardware: the reference values are those that we compute.
MILAN = AppraisalPolicy(products=("Milan",))


def test_check_appraises_what_dstack_published(tmp_path: Path) -> None:
    config = made("go-sev-guest", typed(document("hardware")), MILAN)
    assert [check(tmp_path, name, config) for name in ("dstack", "milan-v3-azure-cvm")] == [0, 5]


def test_snpguest_appraises_what_dstack_published(tmp_path: Path) -> None:
    script = made("snpguest", typed(document("hardware")), MILAN)
    assert snpguest(tmp_path, "dstack", script) == (0, "dstack 1, snp/qemu/EPYC-v4/vcpus2")
    assert snpguest(tmp_path, "milan-v3-azure-cvm", script)[0] == 1


def test_trustees_engine_appraises_what_dstack_published(tmp_path: Path) -> None:
    policy = made("trustee-policy", typed(document("hardware")), MILAN)
    assert appraised(tmp_path, policy, "snp", claims(reported("dstack"))) == (3, 2, 2)
    # Where no target is known, no configuration is.
    assert appraised(tmp_path, policy, "snp", claims(reported("milan-v3-azure-cvm"))) == (33, 2, 36)


def claims(report: Report) -> dict[str, Any]:
    """Return Trustee's claims of a report (deps/verifier/src/snp/mod.rs at 78962cd, parse_tee_evidence)."""
    tcb = report.product.tcb(report.reported_tcb) if report.product else None
    assert tcb is not None
    policy = report.policy
    return {
        "policy_abi_major": policy >> 8 & 0xFF,
        "policy_abi_minor": policy & 0xFF,
        "policy_smt_allowed": bool(policy >> 16 & 1),
        "policy_migrate_ma": bool(policy >> 18 & 1),
        "policy_debug_allowed": bool(policy >> 19 & 1),
        "policy_single_socket": bool(policy >> 20 & 1),
        "reported_tcb_bootloader": tcb.boot_loader,
        "reported_tcb_tee": tcb.tee,
        "reported_tcb_snp": tcb.snp,
        "reported_tcb_microcode": tcb.microcode,
        "platform_tsme_enabled": bool(report.platform_info >> 1 & 1),
        "platform_smt_enabled": bool(report.platform_info & 1),
        "measurement": report.measurement.hex(),
        "report_data": report.report_data.hex(),
        "init_data": report.host_data.hex(),
        "chip_id": report.chip_id.hex(),
    }


def appraised(folder: Path, policy: str, tee: str, found: dict[str, Any]) -> tuple[int, int, int]:
    """Return executables, hardware and configuration as regorus, Trustee's engine, computes them."""
    program = peer_program("regorus")
    (folder / "p.rego").write_text(policy)
    (folder / "i.json").write_text(json.dumps({tee: found}))
    command = [program, "eval", "--data", "p.rego", "--input", "i.json", "data.policy"]
    result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder)
    (value,) = json.loads(result.stdout)["result"][0]["expressions"]
    assert value["value"]["extensions"] == []
    vector = value["value"]["trust_claims"]
    others = {"file-system", "instance-identity", "runtime-opaque", "storage-opaque", "sourced-data"}
    assert {vector.pop(name) for name in others} == {0}
    return vector["executables"], vector["hardware"], vector["configuration"]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, (3, 2, 2)),
        ({"minimum_tcb": {"Genoa": GENOA}}, (3, 2, 2)),
        ({"minimum_tcb": {"Genoa": GENOA._replace(snp=26)}}, (3, 97, 2)),
        ({"minimum_tcb": {"Genoa": GENOA._replace(microcode=85)}}, (3, 97, 2)),
        ({"platform_required": ("smt",), "platform_forbidden": ("tsme",)}, (3, 2, 2)),
        ({"platform_forbidden": ("smt",)}, (3, 97, 2)),
        ({"platform_required": ("tsme",)}, (3, 97, 2)),
        ({"chip_ids": (b"\1" * 64,)}, (3, 97, 2)),
        ({"host_data": (b"\1" * 32, bytes(32))}, (3, 2, 2)),
        ({"host_data": (b"\1" * 32,)}, (3, 2, 36)),
        ({"policy": 0x20000}, (3, 2, 36)),
        ({"policy": 0x30001}, (3, 2, 36)),
        ({"policy": 0xB0000}, (3, 2, 36)),
    ],
)
def test_trustees_engine_appraises(
    tmp_path: Path, fields: dict[str, Any], wanted: tuple[int, int, int]
) -> None:
    report = reported()
    policy = made("trustee-policy", published(b"\2" * 48, report.measurement), AppraisalPolicy(**fields))
    assert appraised(tmp_path, policy, "snp", claims(report)) == wanted


def test_a_digest_without_a_target(tmp_path: Path) -> None:
    """Nothing is known of its guest policy, but that the guest must not be read."""
    report = reported()
    bare = AppraisalPolicy(measurements=(report.measurement,))
    policy = made("trustee-policy", published(b"\2" * 48), bare)
    assert appraised(tmp_path, policy, "snp", claims(report)) == (3, 2, 2)
    debugged = {**claims(report), "policy_debug_allowed": True}
    assert appraised(tmp_path, policy, "snp", debugged) == (3, 2, 36)
    exact = made("trustee-policy", published(b"\2" * 48), bare._replace(policy=0x20000))
    assert appraised(tmp_path, exact, "snp", claims(report)) == (3, 2, 36)
    alone = bare._replace(published=Published(releases=("9",)), products=("Genoa",))
    config = made("go-sev-guest", published(b"\2" * 48), alone)
    assert check(tmp_path, "genoa-v5-oak", config) == 0
    assert check(tmp_path, "genoa-v5-oak", config.replace("0x230000", "0x20000")) == 5


def test_how_each_is_run_is_said() -> None:
    values = published(b"\1" * 48)
    notes = {fmt: exporter(fmt).notes(values, ExportOptions()) for fmt in appraising_formats()}
    assert "check -in REPORT -config go-sev-guest.textproto -network=false" in notes["go-sev-guest"][0]
    assert "set-attestation-policy --policy-file trustee-policy.rego" in notes["trustee-policy"][0]


def test_trustees_engine_appraises_nothing_else(tmp_path: Path) -> None:
    report = reported()
    policy = made("trustee-policy", published(report.measurement))
    assert appraised(tmp_path, policy, "tdx", claims(report)) == (33, 97, 36)
    assert appraised(tmp_path, policy, "snp", {}) == (33, 2, 36)
    other = {**claims(report), "measurement": "02" * 48}
    assert appraised(tmp_path, policy, "snp", other) == (33, 2, 36)
    for name in ("policy_debug_allowed", "policy_migrate_ma"):
        assert appraised(tmp_path, policy, "snp", {**claims(report), name: True}) == (3, 2, 36)
    # A target that was published with debugging is not accepted with it in silence.
    debugged = made("trustee-policy", published(report.measurement, policy=0xB0000))
    assert appraised(tmp_path, debugged, "snp", {**claims(report), "policy_debug_allowed": True}) == (
        3,
        2,
        36,
    )


def snpguest(folder: Path, name: str, script: str) -> tuple[int, str]:
    """Return how the script ends with snpguest on the path, and the last line that it prints."""
    program = Path(peer_program("snpguest"))
    parts, asked = hardware_report(name)
    place = folder / str(len(list(folder.iterdir())))
    place.mkdir()
    report, certificates = PEERS["snpguest"].lay(parts, place)
    (place / "run.sh").write_text(script)
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["sh", "run.sh", *certificates, report, *([asked.product.lower()] if asked.unsaid else [])]
    result = subprocess.run(command, check=False, capture_output=True, text=True, cwd=place, env=environment)
    return result.returncode, result.stdout.splitlines()[-1]


def test_snpguest_names_the_target(tmp_path: Path) -> None:
    report = reported()
    values = published(b"\2" * 48, report.measurement)
    label = f"{values.title()}, {values.values[1].label}"
    assert snpguest(tmp_path, "genoa-v5-oak", made("snpguest", values)) == (0, label)
    right = AppraisalPolicy(host_data=(b"\1" * 32, bytes(32)), report_data=(report.report_data,))
    assert snpguest(tmp_path, "genoa-v5-oak", made("snpguest", values, right)) == (0, label)
    bare = AppraisalPolicy(measurements=(report.measurement,))
    _, said = snpguest(tmp_path, "genoa-v5-oak", made("snpguest", published(b"\2" * 48), bare))
    assert said == f"launch digest {report.measurement.hex()}"


@pytest.mark.parametrize(
    "name",
    [
        "genoa-v3-routex",
        "siena-bergamo-v5-attestation-rs",
        "milan-v2-gcp-automata",
        "turin-v5-bitcoin-pir-a",
        "milan-v3-aws-vlek",
        "dstack",
    ],
)
def test_snpguest_takes_a_report_with_its_own_values_alone(tmp_path: Path, name: str) -> None:
    report = reported(name)
    values = published(report.measurement)
    right = AppraisalPolicy(host_data=(report.host_data,), report_data=(report.report_data,))
    label = f"{values.title()}, {values.values[0].label}"
    assert snpguest(tmp_path, name, made("snpguest", values, right)) == (0, label)
    changes: tuple[dict[str, Any], ...] = (
        {"host_data": (bytes(31) + b"\1",)},
        {"report_data": (bytes(63) + b"\1",)},
    )
    for changed in changes:
        assert snpguest(tmp_path, name, made("snpguest", values, right._replace(**changed)))[0] == 1, changed
    digest = bytes([report.measurement[0] ^ 1]) + report.measurement[1:]
    assert snpguest(tmp_path, name, made("snpguest", published(digest), right))[0] == 1


@pytest.mark.parametrize(
    "fields", [{"host_data": (b"\1" * 32,)}, {"report_data": (b"\1" * 64,)}, {"id_keys": (b"\1" * 48,)}, {"author_keys": (b"\1" * 48,)}]
)  # fmt: skip
def test_snpguest_refuses(tmp_path: Path, fields: dict[str, Any]) -> None:
    report = reported()
    script = made("snpguest", published(report.measurement), AppraisalPolicy(**fields))
    assert snpguest(tmp_path, "genoa-v5-oak", script)[0] == 1
    assert snpguest(tmp_path, "genoa-v5-oak", made("snpguest", published(b"\2" * 48)))[0] == 1


def test_the_script_is_clean(tmp_path: Path) -> None:
    values = published(b"\1" * 48, b"\2" * 48)
    values = values._replace(name="x'; exit 9\n", version="$(exit 9)\n`exit 9`")
    script = tmp_path / "snpguest.sh"
    policy = AppraisalPolicy(measurements=(b"\3" * 48,), host_data=(bytes(32), b"\1" * 32))
    script.write_text(made("snpguest", values, policy))
    subprocess.run([*tool("shellcheck"), "--shell=sh", "--severity=warning", str(script)], check=True)
    for words in ([], ["one"], ["a", "b", "c", "d"]):
        result = subprocess.run(["sh", str(script), *words], check=False, capture_output=True, text=True)
        assert result.returncode == 2
        assert "Usage: sh THIS CERTIFICATES REPORT [MODEL]" in result.stderr


@pytest.mark.parametrize(
    ("fmt", "fields", "extra", "message"),
    [
        ("go-sev-guest", {}, {"product-line": "Turin"}, "release 0.15.0 does not verify reports of Turin"),
        ("go-sev-guest", {}, {"product-line": "Rome"}, "unknown product"),
        ("go-sev-guest", {"vmpls": (0, 1)}, {"product-line": "Milan"}, "check takes one guest.vmpl, and 2"),
        (
            "go-sev-guest",
            {"minimum_tcb": {"Genoa": GENOA}},
            {"product-line": "Milan"},
            "[minimum-tcb] has nothing for Milan",
        ),
        (
            "go-sev-guest",
            {"published": Published(releases=("9",))},
            {"product-line": "Milan"},
            "takes one launch digest, and no targets are accepted",
        ),
        (
            "go-sev-guest",
            {"measurements": (b"\2" * 48,)},
            {"product-line": "Milan"},
            "takes one launch digest, and 2 targets are accepted",
        ),
        ("trustee-policy", {"published": Published(guests=("x",))}, {}, "accepts no target"),
        (
            "trustee-policy",
            {"minimum_tcb": {"Genoa": GENOA, "Milan": GENOA}},
            {},
            "no claim of Trustee's says which product a report is of",
        ),
        ("snpguest", {"published": Published(targets=("x",))}, {}, "accepts no target"),
    ],
)
def test_what_a_format_cannot_say_is_refused(
    fmt: str, fields: dict[str, Any], extra: dict[str, Any], message: str
) -> None:
    with pytest.raises(SevbuildError) as caught:
        made(fmt, published(b"\1" * 48), AppraisalPolicy(**fields), **extra)
    assert message in caught.value.message


ALL = AppraisalPolicy(
    vmpls=(1,),
    measurements=(b"\1" * 48,),
    policy=0x30000,
    maximum_policy=0x30000,
    host_data=(bytes(32),),
    report_data=(bytes(64),),
    family_ids=(bytes(16),),
    image_ids=(bytes(16),),
    guest_svn=1,
    id_keys=(bytes(48),),
    author_keys=(bytes(48),),
    products=("Turin",),
    platform_required=("ecc", "tio"),
    platform_forbidden=("smt", "iommu-write-safe"),
    chip_ids=(bytes(64),),
    csp_ids=("x",),
    firmware_version=FirmwareVersion(1, 55, 0),
    launch_mitigations=1,
    current_mitigations=1,
    minimum_tcb={"Turin": Tcb(0, 0, 0, 0, 1)},
    minimum_launch_tcb={"Turin": Tcb(0, 0, 0, 0, 1)},
    required=frozenset({"revocation"}),
    strict=True,
)


def test_what_a_verifier_does_not_look_at_is_said() -> None:
    values = published(b"\1" * 48)
    said = {fmt: exporter(fmt).warnings(values, ExportOptions(appraisal=ALL)) for fmt in appraising_formats()}
    more = {fmt: texts[0 if fmt != "snpguest" else 1] for fmt, texts in said.items()}
    head, tail = "does not look at ", ", checks.strict, checks.require: revocation"
    assert all(head in text and text.endswith(tail) for text in more.values())
    missing = {fmt: text.partition(head)[2].removesuffix(tail).split(", ") for fmt, text in more.items()}
    assert missing == {
        "go-sev-guest": ["platform.csp-id", "platform.launch-mitigations", "platform.current-mitigations"],
        "trustee-policy": [*IN_NO_CLAIM, *IN_CHECK_ALONE, *missing["go-sev-guest"][1:], "minimum-launch-tcb"],
        "snpguest": [
            "guest.policy",
            "guest.maximum-policy",
            "guest.family-id",
            "guest.image-id",
            "guest.guest-svn",
            "platform.product",
            "platform.required",
            "platform.forbidden",
            "platform.chip-id",
            "platform.csp-id",
            "platform.firmware-version",
            *missing["go-sev-guest"][1:],
            "minimum-tcb",
            "minimum-launch-tcb",
        ],
    }
    assert said["go-sev-guest"][1:] == [
        "check does not hold these bits of PLATFORM_INFO: tio, iommu-write-safe",
        "check takes a trusted author key for enough, whatever the ID key is",
    ]
    assert said["trustee-policy"][1:] == [
        "Trustee has no claim of these bits of PLATFORM_INFO: ecc, tio, iommu-write-safe",
        "Trustee refuses every report of a VMPL other than 0",
        "Trustee has no claim of a TCB's fmc",
    ]
    assert said["snpguest"][0].startswith("snpguest does not look at the guest policy (debugging!), the VMPL")
    quiet = {fmt: exporter(fmt).warnings(values, ExportOptions()) for fmt in appraising_formats()}
    assert [len(texts) for texts in quiet.values()] == [0, 0, 1]


IN_NO_CLAIM = (
    "guest.maximum-policy",
    "guest.report-data",
    "guest.family-id",
    "guest.image-id",
    "guest.guest-svn",
    "guest.id-key-digest",
    "guest.author-key-digest",
    "platform.product",
)
IN_CHECK_ALONE = ("platform.csp-id", "platform.firmware-version")
