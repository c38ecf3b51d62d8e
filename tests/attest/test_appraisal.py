"""Appraisal policies: what each key decodes to, every fault with its line, the schema says the same."""

from __future__ import annotations

import copy
from typing import Any

import jsonschema
import pytest
import tomli

from sevbuild.appraise.references import named_targets
from sevbuild.attest.appraisal import AppraisalPolicy, Published
from sevbuild.attest.appraisal_keys import decode_appraisal, parse_version
from sevbuild.attest.appraisal_schema import appraisal_schema
from sevbuild.attest.appraisal_text import appraisal_text
from sevbuild.attest.named_target import NamedTarget
from sevbuild.attest.product import Tcb
from sevbuild.attest.report import FirmwareVersion
from sevbuild.bundle.published import read_values
from sevbuild.errors import FaultsError, SevbuildError
from sevbuild.launch.id_block import ReportedIdBlock
from tests.support.cli import run
from tests.support.guests import toml_value
from tests.support.shared import ROOT

VALIDATOR = jsonschema.Draft7Validator(appraisal_schema())

FULL: dict[str, Any] = {
    "schema": 1,
    "published": {"guest": "acme", "release": ["1.4.0"], "target": ["vcpus2"], "measurement": "ab" * 48},
    "guest": {
        "vmpl": [0, 1],
        "policy": {"smt": True, "debug": True, "abi": "1.55"},
        "host-data": "0x" + "01" * 32,
        "report-data": ["02" * 64, "03" * 64],
        "tpm-nonce": ["0a", "0b" * 64],
        "family-id": "04" * 16,
        "image-id": "05" * 16,
        "guest-svn": 7,
        "id-key-digest": "06" * 48,
        "author-key-digest": ["07" * 48],
    },
    "platform": {
        "product": ["Milan", "Turin"],
        "required": ["ecc", "alias-check-complete"],
        "forbidden": "smt",
        "chip-id": ["08" * 64, "09" * 8],
        "csp-id": "CN=cc-us-east-2.amazonaws.com",
        "firmware-version": "1.55.21",
        "provisional-firmware": True,
        "launch-mitigations": 1,
        "current-mitigations": 3,
    },
    "minimum-tcb": {"Milan": {"boot-loader": 4, "tee": 0, "snp": 24, "microcode": 219}},
    "minimum-launch-tcb": {"Turin": {"fmc": 1, "boot-loader": 1, "tee": 1, "snp": 4, "microcode": 81}},
    "checks": {"require": ["report-data"], "waive": "chip-id", "strict": True, "unknown-versions": True},
}


def decoded(document: dict[str, Any]) -> AppraisalPolicy:
    return decode_appraisal(
        "".join(f"{key} = {toml_value(value)}\n" for key, value in document.items()), "a.toml"
    )


def faults(text: str) -> list[str]:
    with pytest.raises(FaultsError) as caught:
        decode_appraisal(text, "a.toml")
    return [str(fault) for fault in caught.value.faults]


def test_every_key_has_its_value() -> None:
    assert decoded(FULL) == AppraisalPolicy(
        "a.toml",
        published=Published(("acme",), ("1.4.0",), ("vcpus2",)),
        measurements=(b"\xab" * 48,),
        vmpls=(0, 1),
        policy=0xB0000 | 0x137,
        host_data=(b"\1" * 32,),
        report_data=(b"\2" * 64, b"\3" * 64),
        tpm_nonces=(b"\n", b"\x0b" * 64),
        family_ids=(b"\4" * 16,),
        image_ids=(b"\5" * 16,),
        guest_svn=7,
        id_keys=(b"\6" * 48,),
        author_keys=(b"\7" * 48,),
        products=("Milan", "Turin"),
        platform_required=("ecc", "alias-check-complete"),
        platform_forbidden=("smt",),
        chip_ids=(b"\x08" * 64, b"\t" * 8 + bytes(56)),
        csp_ids=("CN=cc-us-east-2.amazonaws.com",),
        firmware_version=FirmwareVersion(1, 55, 21),
        provisional_firmware=True,
        launch_mitigations=1,
        current_mitigations=3,
        minimum_tcb={"Milan": Tcb(4, 0, 24, 219)},
        minimum_launch_tcb={"Turin": Tcb(1, 1, 4, 81, 1)},
        required=frozenset({"report-data"}),
        waived=frozenset({"chip-id"}),
        strict=True,
        unknown_versions=True,
    )


def test_a_file_that_says_nothing_accepts_vmpl_0() -> None:
    assert decode_appraisal("schema = 1\n", "") == AppraisalPolicy()


def test_a_bound_of_the_guest_policy() -> None:
    assert decode_appraisal("schema = 1\nguest.maximum-policy = 0x30000", "").maximum_policy == 0x30000


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("schema = 2", "a.toml:1: schema: must be 1, the version of appraisal policies this release reads"),
        (
            "schema = true",
            "a.toml:1: schema: must be 1, the version of appraisal policies this release reads",
        ),
        ("guest.vmpl = 4", "a.toml:2: guest.vmpl: must be 0..3, got 4"),
        (
            "guest.tpm-nonce = '0'",
            "a.toml:2: guest.tpm-nonce: must be 1 to 64 bytes in hexadecimal digits, got '0'",
        ),
        ("guest.tpm-nonce = 1", "a.toml:2: guest.tpm-nonce: must be a string, got an integer"),
        ("guest.vmpl = []", "a.toml:2: guest.vmpl: must not be empty"),
        ("guest.policy = 0x10000", "a.toml:2: guest.policy: 0x10000 lacks bit 17, which must be one"),
        ("guest.policy = {}", "a.toml:2: guest.policy: must not be empty"),
        ("guest.policy = {dbug = true}", "a.toml:2: guest.policy.dbug: unknown key"),
        ("guest.host-data = '00'", "a.toml:2: guest.host-data: must be 64 hexadecimal digits, got '00'"),
        ("guest.hostdata = ''", "a.toml:2: guest.hostdata: unknown key"),
        ("guest.guest-svn = -1", "a.toml:2: guest.guest-svn: must be 0x0..0xffffffff, got -0x1"),
        (
            "platform.chip-id = '0011'",
            "a.toml:2: platform.chip-id: must be 128 hexadecimal digits, got '0011'",
        ),
        (
            f"platform.chip-id = '{'00' * 64}'",
            "a.toml:2: platform.chip-id: must not be zero: so it is of every chip whose id the host masks",
        ),
        ("platform.product = 'Naples'", "a.toml:2: platform.product: unknown value 'Naples'"),
        ("platform.required = 'bit 6'", "a.toml:2: platform.required: unknown value 'bit 6'"),
        ("platform.csp-id = ''", "a.toml:2: platform.csp-id: must not be empty"),
        (
            "platform.firmware-version = '1.256'",
            'a.toml:2: platform.firmware-version: must look like "1.55" or "1.55.21", got \'1.256\'',
        ),
        (
            "platform = {required = 'ecc', forbidden = 'ecc'}",
            "a.toml:2: platform.forbidden: ecc is required as well",
        ),
        ("minimum-tcb.Rome.tee = 1", "a.toml:2: minimum-tcb.Rome: unknown value 'Rome'"),
        ("minimum-tcb.Milan = 1", "a.toml:2: minimum-tcb.Milan: must be a table, got an integer"),
        ("minimum-tcb = 1", "a.toml:2: minimum-tcb: must be a table, got an integer"),
        (
            "minimum-tcb.Milan = {boot-loader = 1, tee = 0, snp = 1, microcode = 1, fmc = 1}",
            "a.toml:2: minimum-tcb.Milan.fmc: unknown key",
        ),
        ("checks.require = 'tcb'", "a.toml:2: checks.require: unknown value 'tcb'"),
        (
            "checks.waive = ['signature', 'vmpl']",
            "a.toml:2: checks.waive: signature: without it nothing in a report is anybody's word",
        ),
        ("checks = {require = 'vmpl', waive = 'vmpl'}", "a.toml:2: checks.waive: vmpl is required as well"),
        ("published.release = 1", "a.toml:2: published.release: must be a string, got an integer"),
        ("policy = 1", "a.toml:2: policy: unknown key"),
        (
            "guest = {policy = 0x30000, maximum-policy = 0x30000}",
            "a.toml:2: guest.maximum-policy: stands beside policy",
        ),
    ],
)
def test_a_fault_and_its_line(line: str, fault: str) -> None:
    text = line if line.startswith("schema") else f"schema = 1\n{line}\n"
    assert faults(text) == [fault]


def test_a_manifest_is_told_apart() -> None:
    with pytest.raises(SevbuildError, match=r"guest\.toml: a manifest, not an appraisal policy") as caught:
        decode_appraisal((ROOT / "guests" / "hello" / "guest.toml").read_text(), "guest.toml")
    assert caught.value.hint == "`sevbuild appraisal init guest.toml` writes one of it"


def test_all_faults_are_said_at_once() -> None:
    text = "schema = 1\n[guest]\nvmpl = 9\nid-key = 'x'\n[minimum-tcb.Turin]\nsnp = 4\n"
    assert faults(text) == [
        "a.toml:3: guest.vmpl: must be 0..3, got 9",
        "a.toml:4: guest.id-key: unknown key",
        *(
            f"a.toml:5: minimum-tcb.Turin.{part}: missing: an integer is required"
            for part in ("fmc", "boot-loader", "tee", "microcode")
        ),
    ]


def test_the_schema_agrees_on_every_key() -> None:
    VALIDATOR.validate(FULL)
    tables = [key for key, value in FULL.items() if isinstance(value, dict)]
    for name in tables:
        for key in [*FULL[name], "other"]:
            wrong: list[Any] = [{"x": 1}, [], -1, "zz", True, 1.5]
            for value in wrong:
                changed = copy.deepcopy(FULL)
                changed[name][key] = value
                try:
                    decoded(changed)
                except FaultsError:
                    assert not VALIDATOR.is_valid(changed), (key, value)
                else:
                    VALIDATOR.validate(changed)


def test_versions() -> None:
    assert parse_version("1.55") == (1, 55, 0)
    assert parse_version("1.55.255") == (1, 55, 255)
    assert [parse_version(text) for text in ("1", "1.2.3.4", "1.x", "1.256", "", "1.\u0661", "1.0001")] == [
        None
    ] * 7


def target(**changes: Any) -> NamedTarget:
    first = NamedTarget("acme", "1.0.0", "snp/qemu/EPYC-Milan/vcpus1", "snp", b"\1" * 48, 0x30000)
    return first._replace(**changes)


BLOCK = ReportedIdBlock(b"\1" * 48, b"\2" * 48, b"\3" * 16, b"\4" * 16, 7)


@pytest.mark.parametrize(
    ("targets", "releases", "wanted"),
    [
        ([target()], ("1.0.0",), AppraisalPolicy(published=Published((), ("1.0.0",), ()))),
        ([target(version=None)], (), AppraisalPolicy()),
        (
            [target(id_block=BLOCK), target(label="b", id_block=BLOCK._replace(guest_svn=3))],
            ("1", "2"),
            AppraisalPolicy(
                published=Published((), ("1", "2"), ()),
                guest_svn=3,
                id_keys=(b"\1" * 48,),
                author_keys=(b"\2" * 48,),
            ),
        ),
        (
            [target(id_block=BLOCK._replace(author_key_digest=None))],
            (),
            AppraisalPolicy(guest_svn=7, id_keys=(b"\1" * 48,)),
        ),
        ([target(id_block=BLOCK), target(label="b")], (), AppraisalPolicy()),
    ],
)
def test_a_start_accepts_what_was_published(
    targets: list[NamedTarget], releases: tuple[str, ...], wanted: AppraisalPolicy
) -> None:
    text = appraisal_text(targets, releases, "reference-values.json")
    assert decode_appraisal(text, "") == wanted
    VALIDATOR.validate(tomli.loads(text))
    # What stands in comments is right as well, each line by itself.
    for line in text.splitlines():
        if line.startswith("# ") and " = " in line and "..." not in line:
            tomli.loads(line.removeprefix("# "))


def test_no_start_without_a_report() -> None:
    with pytest.raises(SevbuildError, match="no target has mode snp"):
        appraisal_text([target(mode="sev")], (), "x.json")


def test_appraisal_init(tmp_path: Any) -> None:
    path = tmp_path / "appraisal.toml"
    values = str(ROOT / "guests" / "hello" / "reference-values.json")
    result = run("appraisal", "init", values, "-o", str(path))
    assert (result.status, result.out) == (0, "")
    assert decode_appraisal(path.read_text(), "").published.releases == ("1.0.0",)
    again = run("appraisal", "init", values, "-o", str(path))
    assert (again.status, "already exists" in again.err) == (2, True)
    assert run("appraisal", "init", values, "-o", str(path), "--force").status == 0
    assert run("appraisal", "init", values, "-o", "-").out == path.read_text()
    assert str(ROOT) not in path.read_text()
    assert "--against reference-values.json " in path.read_text()
    assert run("appraisal", "init", values, "-o", "-", "--force").status == 2


def test_targets_that_are_not_accepted_say_why() -> None:
    _, values = read_values(str(ROOT / "guests" / "hello" / "reference-values.json"))
    (plain,) = named_targets(values)
    assert plain.name == f"hello 1.0.0, {plain.label}"
    for published, why in (
        (Published(guests=("other",)), "guest hello is not accepted"),
        (
            Published(releases=("2.0.0", "3.0.0")),
            "no accepted release has it (published.release: 2.0.0, 3.0.0)",
        ),
        (Published(targets=("vcpus9",)), "the target is not accepted (published.target: vcpus9)"),
        (Published(("hello",), ("1.0.0",), ("vcpus1",)), ""),
    ):
        (found,) = named_targets(values, published)
        assert found.refused.startswith(why)
        assert bool(found.refused) is bool(why)
