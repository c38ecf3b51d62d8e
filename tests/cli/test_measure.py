"""`sevbuild measure` as a person and a script meet it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import run
from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello" / "guest.toml"
FLEET = ROOT / "guests" / "fleet" / "guest.toml"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return the manifest of a guest that says everything, over firmware, kernel and initrd."""
    image = standard_firmware()
    (tmp_path / "OVMF.fd").write_bytes(image)
    (tmp_path / "kernel").write_bytes(b"kernel")
    (tmp_path / "initrd").write_bytes(b"initrd")
    return _manifest(tmp_path)


def _manifest(folder: Path, **tables: Any) -> Path:
    base: dict[str, Any] = {
        "launch": {"mode": "snp", "profile": "qemu", "policy": 0x30000, "guest-features": 0x1},
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdline": "quiet"},
        "initrd": {"path": "initrd"},
    }
    for name, table in tables.items():
        base[name] = {**base.get(name, {}), **table} if isinstance(table, dict) else table
    return write_manifest(folder, **base)


def test_one_target_prints_its_bare_digest(manifest: Path) -> None:
    result = run("measure", manifest)
    assert (result.status, result.err) == (0, "")
    assert len(result.out) == 97
    assert int(result.out, 16)
    assert result.out == result.out.lower()


def test_several_targets_print_a_line_each(manifest: Path) -> None:
    one = run("measure", manifest, "--set", "vcpu.count=2").out.strip()
    result = run(
        "measure", manifest, "--set", 'vcpu.count=["1-2", 4]', "--set", 'vcpu.model=["EPYC-v4", "EPYC-Milan"]'
    )
    lines = [line.split("  ") for line in result.out.splitlines()]
    assert [label for _, label in lines] == [
        f"snp/qemu/{cpu}/vcpus{count}" for cpu in ("EPYC-v4", "EPYC-Milan") for count in (1, 2, 4)
    ]
    assert lines[1] == [one, "snp/qemu/EPYC-v4/vcpus2"]


@pytest.mark.usefixtures("manifest")
def test_values_taken_unsaid_are_noted_with_their_origin(tmp_path: Path) -> None:
    path = write_manifest(tmp_path, firmware={"path": "OVMF.fd"})
    result = run("measure", path)
    assert (
        result.err
        == "snp/qemu: note: policy 0x30000 (default of mode snp), guest features 0x1 (profile qemu)\n"
    )
    assert run("measure", path, "--quiet").err == ""
    assert (
        "policy 0x30000 (default of mode snp)"
        not in run("measure", path, "--set", "launch.policy=0x30000").err
    )


def test_each_format_has_the_digest(manifest: Path) -> None:
    digest = run("measure", manifest).out.strip()
    encoded = run("measure", manifest, "--format", "base64").out
    assert base64.b64decode(encoded).hex() == digest
    table = run("measure", manifest, "-f", "table").out
    assert table.splitlines()[1].split() == [
        "snp/qemu/EPYC-v4/vcpus1",
        "0x30000",
        "(manifest)",
        "0x1",
        "(manifest)",
        digest,
    ]
    markdown = run("measure", manifest, "-f", "markdown").out
    assert f"| snp/qemu/EPYC-v4/vcpus1 | 0x30000 (manifest) | 0x1 (manifest) | `{digest}` |" in markdown
    both = run("measure", manifest, "-f", "base64", "--set", "vcpu.count=[1, 2]").out
    assert both.startswith(f"{encoded.strip()}  snp/qemu/EPYC-v4/vcpus1\n")
    wrong = run("measure", manifest, "-f", "yaml")
    assert (wrong.status, wrong.out) == (2, "")
    assert "one of hex, base64, json, table, markdown" in wrong.err


def test_the_document_says_everything(manifest: Path) -> None:
    result = run(
        "measure",
        manifest,
        "--format",
        "json",
        "--set",
        'launch.mode=["sev", "sev-es", "snp"]',
        "--set",
        "launch.policy={snp=0x30000}",
        "--set",
        "launch.guest-features={snp=1}",
    )
    document = json.loads(result.out)
    assert result.out == json.dumps(document, indent=2, sort_keys=True) + "\n"
    assert document["schema"] == 1
    assert document["guest"] == {"name": "test", "version": "1"}
    assert [(entry["role"], entry["name"], entry["size"]) for entry in document["inputs"]] == [
        ("firmware", "OVMF.fd", 0x10000),
        ("kernel", "kernel", 6),
        ("initrd", "initrd", 6),
    ]
    sev, sev_es, snp = document["values"]
    assert snp == {
        "label": "snp/qemu/EPYC-v4/vcpus1",
        "mode": "snp",
        "profile": "qemu",
        "cpu": "EPYC-v4",
        "signature": "0x00800f12",
        "vcpus": 1,
        "guest_features": "0x1",
        "policy": "0x30000",
        "kernel_hashes": True,
        "cmdline": "quiet",
        "order": "profile",
        "vmsa_gpa": "0xfffffffff000",
        "algorithm": "sha384",
        "digest": run("measure", manifest).out.strip(),
        "origins": {"guest_features": "manifest", "policy": "manifest"},
        "ingredients": "snp/qemu",
    }
    assert (sev["guest_features"], sev["policy"], sev["algorithm"]) == (None, "0x1", "sha256")
    assert (sev_es["guest_features"], sev_es["policy"]) == ("0x0", "0x5")
    assert sev_es["origins"] == {"guest_features": "profile qemu", "policy": "default of mode sev-es"}


def test_another_digest_than_expected_is_a_mismatch(manifest: Path, tmp_path: Path) -> None:
    digest = run("measure", manifest).out.strip()
    assert run("measure", manifest, "--expect", digest).status == 0
    assert run("measure", manifest, "--expect", "0x" + digest.upper()).status == 0
    wrong = run("measure", manifest, "--expect", "ab" * 48)
    assert (wrong.status, wrong.out) == (1, "")
    assert digest in wrong.err
    assert "ab" * 48 in wrong.err
    several = ["--set", "vcpu.count=[1, 2]"]
    for name, fmt in (("lines", "hex"), ("document", "json")):
        (tmp_path / name).write_text(run("measure", manifest, *several, "--format", fmt).out)
        assert run("measure", manifest, *several, "--expect", tmp_path / name).status == 0
        other = run(
            "measure", manifest, *several, "--expect", tmp_path / name, "--set", "kernel.cmdline=other"
        )
        assert (other.status, other.out) == (1, "")
        assert "2 targets: 2 different" in other.err
        more = run("measure", manifest, "--set", "vcpu.count=[1, 3]", "--expect", tmp_path / name)
        assert more.status == 1
        assert "not published  snp/qemu/EPYC-v4/vcpus3" in more.err
        assert "not measured  snp/qemu/EPYC-v4/vcpus2" in more.err
    assert run("measure", manifest, *several, "--expect", digest).status == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "zz",
        "ab" * 48 + "\n" + "cd" * 48,
        "{}",
        "{",
        '{"values": [{"label": 1, "digest": "x"}]}',
        '{"schema": 1, "schema": 1}',
        "ab" * 48 + "  a\n" + "cd" * 48 + "  a",
    ],
)
def test_an_expectation_that_is_no_digest_is_an_error(manifest: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "expected").write_text(text)
    result = run("measure", manifest, "--expect", tmp_path / "expected")
    assert (result.status, result.out) == (2, "")
    assert str(tmp_path / "expected") in result.err


def test_vmsas_are_written_where_told(manifest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "vmsas"
    assert run("measure", manifest, "--dump-vmsa", folder, "--set", "vcpu.count=3").status == 0
    assert sorted(path.name for path in folder.iterdir()) == ["vmsa0.bin", "vmsa1.bin"]
    assert {path.stat().st_size for path in folder.iterdir()} == {4096}
    both = tmp_path / "both"
    assert run("measure", manifest, "--dump-vmsa", both, "--set", "vcpu.count=[1, 2]").status == 0
    assert sorted(str(path.relative_to(both)) for path in both.rglob("*.bin")) == [
        "snp_qemu_EPYC-v4_vcpus1/vmsa0.bin",
        "snp_qemu_EPYC-v4_vcpus2/vmsa0.bin",
        "snp_qemu_EPYC-v4_vcpus2/vmsa1.bin",
    ]
    assert (
        run(
            "measure",
            manifest,
            "--dump-vmsa",
            tmp_path / "x",
            "--set",
            'launch.mode="sev"',
            "--set",
            "launch.policy=1",
            "--set",
            "launch.guest-features=1",
        ).status
        == 2
    )


def test_a_target_is_picked_by_label(manifest: Path) -> None:
    several = ["--set", "vcpu.count=[1, 2]"]
    result = run("measure", manifest, *several, "--target", "snp/qemu/EPYC-v4/vcpus2")
    assert result.out == run("measure", manifest, "--set", "vcpu.count=2").out
    wrong = run("measure", manifest, *several, "--target", "snp/qemu/EPYC-v4/vcpus3")
    assert wrong.status == 2
    assert "hint: did you mean snp/qemu/EPYC-v4/vcpus" in wrong.err


def test_a_setting_changes_the_manifest(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "line").write_text("quiet\n")
    assert (
        run("measure", manifest, "--set", f"kernel.cmdline=@{tmp_path / 'line'}").out
        == run("measure", manifest).out
    )
    assert run("measure", manifest, "--set", "kernel.cmdline=a b c").status == 0
    wrong = run("measure", manifest, "--set", "vcpu.count=0")
    assert (wrong.status, wrong.err) == (2, "error: --set: vcpu.count: must be 1..4096, got 0\n")
    assert run("measure", manifest, "--set", "vcpu").status == 2
    assert run("measure", manifest, "--set", "schema.x=1").status == 2
    assert run("measure", manifest, "--set", f"kernel.cmdline=@{tmp_path / 'nowhere'}").status == 2


def test_a_manifest_from_standard_input(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(manifest.parent)
    assert run("measure", "-", stdin=manifest.read_text()).out == run("measure", manifest).out
    wrong = run("measure", "-", stdin="schema = 1\nx = 1\n")
    assert wrong.status == 2
    assert "stdin:2: x: unknown key" in wrong.err


def test_a_pin_is_held_to(manifest: Path) -> None:
    inputs = {
        entry["role"]: entry["sha256"]
        for entry in json.loads(run("measure", manifest, "-f", "json").out)["inputs"]
    }
    for role, digest in inputs.items():
        assert run("measure", manifest, "--set", f"{role}.sha256={digest}").status == 0
        wrong = run("measure", manifest, "--set", f"{role}.sha256={'0' * 64}")
        assert (wrong.status, wrong.out) == (1, "")
        assert digest in wrong.err


@pytest.mark.parametrize("role", ["firmware", "kernel", "initrd"])
def test_missing_inputs_are_named(manifest: Path, role: str) -> None:
    result = run("measure", manifest, "--set", f"{role}.path=nowhere")
    assert (result.status, result.out) == (2, "")
    assert result.err.endswith("nowhere: No such file or directory\n")


def test_order_of_flags_and_help() -> None:
    for flag in ("-h", "--help"):
        result = run("measure", flag)
        assert result.status == 0
        for word in ("--format", "--target", "--set", "--expect", "--dump-vmsa", "--lint", "--quiet"):
            assert word in result.out
    assert run("measure").status == 2
    assert run("measure", "--nonsense", HELLO).status == 2


def test_the_fleet_has_960_values() -> None:
    result = run("measure", FLEET)
    assert (result.status, result.err) == (0, "")
    labels = [line.split("  ")[1] for line in result.out.splitlines()]
    assert len(labels) == len(set(labels)) == 960


def test_output_is_the_same_everywhere(manifest: Path, tmp_path: Path) -> None:
    """Output depends on neither folder, locale, time zone, umask, hash seed nor path of the program."""
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    for name in ("OVMF.fd", "kernel", "initrd", "guest.toml"):
        (elsewhere / name).write_bytes((tmp_path / name).read_bytes())
    outputs = set()
    for folder, seed, locale, path in (
        (tmp_path, "1", "C", str(manifest)),
        (elsewhere, "2", "C.UTF-8", "guest.toml"),
        (elsewhere, "3", "POSIX", str(elsewhere / "guest.toml")),
    ):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "LC_ALL": locale,
            "TZ": f"UTC-{seed}",
            "PYTHONUTF8": "0",
        }
        command = [
            sys.executable,
            "-m",
            "sevbuild",
            "measure",
            "-q",
            "-f",
            "json",
            "--set",
            'kernel.cmdline="é"',
            path,
        ]
        result = subprocess.run(
            command, check=True, capture_output=True, cwd=folder, env={**environment, "PYTHONPATH": str(ROOT)}
        )
        outputs.add(result.stdout)
    assert len(outputs) == 1


def test_a_closed_reader_is_no_failure() -> None:
    script = f"{sys.executable} -m sevbuild measure -q {FLEET} | head -n 1; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert result.stdout.splitlines()[-1] == "0"
    assert result.stderr == ""


def test_interruption_has_its_own_status(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sevbuild.guest.guest.load_guest", interrupt)
    assert run("measure", manifest).status == 130


def test_memory_does_not_grow_with_the_initrd(manifest: Path, tmp_path: Path) -> None:
    peaks = []
    for size in (1, 96):
        with (tmp_path / "initrd").open("wb") as stream:
            stream.truncate(size << 20)
        script = (
            "import resource, sys\nfrom sevbuild.cli import main\n"
            "try: main(sys.argv[1:])\n"
            "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        command = [sys.executable, "-c", script, "measure", "-q", str(manifest)]
        result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        peaks.append(int(result.stderr.splitlines()[-1]))
    # 96 MiB more to hash, under 4 MiB more to hold.
    assert peaks[1] - peaks[0] < 4096
