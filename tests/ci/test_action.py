"""The steps of action.yml, run by bash in the surroundings that the runner gives them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from sevbuild.cli import VERBS
from tests.support.actions import Runner, parse_command
from tests.support.cli import run
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello"


def needs_verb(verb: str) -> pytest.MarkDecorator:
    """Mark a test of a verb that this version may not have yet."""
    return pytest.mark.skipif(verb not in VERBS, reason=f"`sevbuild {verb}` is not in this version")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Return a runner whose workspace holds guests/hello, with sevbuild installed."""
    found = Runner(tmp_path)
    shutil.copytree(HELLO, found.workspace, dirs_exist_ok=True)
    found.provide()
    return found


@pytest.fixture(scope="module")
def digest() -> str:
    return run("measure", "--quiet", HELLO / "guest.toml").out.strip()


def test_measuring_outputs_and_summarizes_the_digest(runner: Runner, digest: str) -> None:
    step = runner.step("measure")
    assert (step.status, step.out, step.outputs) == (0, f"{digest}\n", {"digest": digest})
    assert f"| snp/qemu/EPYC-Milan/vcpus1 | `{digest}` |" in step.summary
    assert step.err == ""


def test_several_targets_and_settings(runner: Runner) -> None:
    step = runner.step("measure", set="vcpu.count=[1, 2]\n\nvcpu.model=EPYC-Rome\n")
    lines = step.outputs["digest"].splitlines()
    assert [line.split("  ")[1] for line in lines] == [f"snp/qemu/EPYC-Rome/vcpus{count}" for count in (1, 2)]


def test_another_digest_than_expected_fails_the_step(runner: Runner, digest: str) -> None:
    assert runner.step("measure", expect=digest).status == 0
    step = runner.step("measure", expect="00" * 48)
    assert (step.status, step.outputs, step.summary) == (1, {}, "")
    assert any((found := parse_command(line)) and found[0] == "error" for line in step.err.splitlines())


def test_a_fault_is_annotated(runner: Runner) -> None:
    path = runner.workspace / "guest.toml"
    path.write_text(path.read_text().replace('mode = "snp"', 'mode = "snq"'))
    step = runner.step("measure")
    found = [command for line in step.err.splitlines() if (command := parse_command(line))]
    line = path.read_text().splitlines().index('mode = "snq"') + 1
    assert step.status == 2
    assert found[0][:2] == ("error", {"file": "guest.toml", "line": str(line)})


@pytest.mark.parametrize(
    "name", ["-x.toml", "a b.toml", "$(touch pwned).toml", '";touch pwned;".toml', "`touch pwned`\n::x.toml"]
)
def test_inputs_are_no_part_of_the_script(runner: Runner, digest: str, name: str) -> None:
    (runner.workspace / "guest.toml").rename(runner.workspace / name)
    step = runner.step("measure", manifest=name)
    assert step.outputs == {"digest": digest}, step.err
    for key in ("set", "expect", "locked"):
        runner.step("measure", manifest=name, **{key: "$(touch pwned)`touch pwned`;touch pwned"})
    assert not list(runner.workspace.rglob("pwned"))


def test_a_run_that_must_be_locked_and_is_not(runner: Runner) -> None:
    (runner.workspace / "guest.lock").unlink(missing_ok=True)
    step = runner.step("measure", locked="true")
    assert step.status in (1, 2)
    assert (step.out, step.outputs) == ("", {})
    assert "::error::" in step.err


@needs_verb("publish")
def test_a_release_is_published_with_its_formats(runner: Runner, digest: str) -> None:
    step = runner.step("publish", release="out/release", formats="hex,in-toto")
    assert step.status == 0, step.err
    assert step.outputs["digest"] == digest
    path = runner.workspace / step.outputs["reference-values"]
    assert path == runner.workspace / "out/release/reference-values.json"
    assert json.loads(path.read_text())["values"][0]["digest"] == digest
    assert (path.parent / "in-toto-predicate.json").exists()
    assert step.summary == ""


@needs_verb("build")
def test_a_bundle_is_built_with_its_sums(runner: Runner, digest: str) -> None:
    step = runner.step("build", bundle="dist")
    assert step.status == 0, step.err
    assert step.outputs["digest"] == digest
    assert (runner.workspace / step.outputs["bundle"] / "SHA256SUMS").exists()


def test_the_gates_reach_every_step(runner: Runner) -> None:
    """Each step has the inputs that are gates, and the program is called with their words as they stand."""
    program = runner.temp / "sevbuild" / "bin" / "sevbuild"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    inputs = {
        "set": "a=b c\n\nd=$(touch pwned)",
        "expect": "-x y",
        "lock": "my lock",
        "locked": "true",
        "frozen": "true",
        "offline": "true",
    }
    held = ["--set=a=b c", "--set=d=$(touch pwned)", "--expect=-x y", "--lock=my lock"]
    held += ["--locked", "--frozen", "--offline"]
    for name, more in (
        ("measure", []),
        ("publish", ["--quiet", "--output=release"]),
        ("build", ["--quiet", "--output=b b"]),
    ):
        step = runner.step(name, bundle="b b", **inputs)
        assert step.out.splitlines() == [name, *held, *more, "--", "guest.toml"]
        step = runner.step(name, bundle="b b")
        assert step.out.splitlines() == [name, *more, "--", "guest.toml"]
    for name in ("frozen", "offline", "lock"):
        step = runner.step("publish", **{name: ""})
        assert (step.status, step.out) == (2, "")
    assert not list(runner.workspace.rglob("pwned"))


def test_outputs_come_from_the_steps_that_set_them(runner: Runner) -> None:
    for name, output in runner.action["outputs"].items():
        step, _, key = output["value"].removeprefix("${{ steps.").removesuffix(" }}").partition(".outputs.")
        assert key == name
        assert step in runner.steps


def test_what_the_action_installs_measures(tmp_path: Path) -> None:
    """Needs a package registry, as `make demo` does; .ci/run says that it must be there."""
    if os.environ.get("SEVBUILD_REQUIRE_REAL") != "1":
        pytest.skip("installing needs a package registry; SEVBUILD_REQUIRE_REAL=1 runs it")
    runner = Runner(tmp_path)
    step = runner.step("install")
    assert step.status == 0, step.err
    shutil.copytree(HELLO, runner.workspace, dirs_exist_ok=True)
    assert runner.step("measure").outputs["digest"] == run("measure", "-q", HELLO / "guest.toml").out.strip()
