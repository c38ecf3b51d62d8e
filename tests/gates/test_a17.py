"""A17: the action, the GitLab example and the pre-commit hooks are gates in every step, and say when open."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.actions import Runner, load_yaml
from tests.support.shared import ROOT

HELLO = ROOT / "guests" / "hello"
WRONG = "00" * 48
STEPS = {"measure": {}, "publish": {"release": "out"}, "build": {"bundle": "out"}}


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """Return a runner whose workspace holds guests/hello, with sevbuild installed."""
    found = Runner(tmp_path)
    shutil.copytree(HELLO, found.workspace, dirs_exist_ok=True)
    found.provide()
    return found


def _change(firmware: Path) -> None:
    """Put another byte where the firmware begins, far from all that is read of it."""
    data = firmware.read_bytes()
    firmware.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def _refused(runner: Runner, **inputs: str) -> None:
    for name, own in STEPS.items():
        step = runner.step(name, **own, **inputs)
        assert (step.status, step.out, step.outputs) == (2, "", {}), (name, inputs)
        assert "::error::" in step.err
        assert not (runner.workspace / "out").exists()


def test_an_input_that_is_empty_fails(runner: Runner) -> None:
    """`expect: ${{ vars.DIGEST }}` of a variable that is not set is no gate left open."""
    _refused(runner, expect="")


def test_nothing_is_expected_only_where_that_is_said(runner: Runner) -> None:
    assert runner.action["inputs"]["expect"]["default"] == "none"
    for name, own in STEPS.items():
        step = runner.step(name, **own, expect="none")
        assert step.status == 0, step.err
        shutil.rmtree(runner.workspace / "out", ignore_errors=True)


@pytest.mark.parametrize("word", ["True", "TRUE", "yes", "1", "on", "", "true ", "$(touch pwned)"])
def test_locked_is_true_or_false_and_nothing_else(runner: Runner, word: str) -> None:
    (runner.workspace / "guest.lock").unlink()
    _refused(runner, locked=word)
    assert not list(runner.workspace.rglob("pwned"))


@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_held_to_what_was_published(runner: Runner, name: str) -> None:
    step = runner.step(name, **STEPS[name], expect=WRONG)
    assert (step.status, step.outputs) == (1, {})
    step = runner.step(name, **STEPS[name], expect="reference-values.json", set="launch.policy=0xb0000")
    assert (step.status, step.outputs) == (1, {})
    assert not (runner.workspace / "out").exists()
    assert runner.step(name, **STEPS[name], expect="reference-values.json").status == 0


def test_every_step_is_held_to_the_lock(runner: Runner) -> None:
    _change(runner.workspace / "hello.fd")
    for name, own in STEPS.items():
        step = runner.step(name, **own, locked="true")
        assert (step.status, step.outputs) == (1, {}), name
        assert "guest.lock is stale" in step.err
        assert not (runner.workspace / "out").exists()


def test_publishing_on_gitlab_is_held_to_what_was_published(runner: Runner) -> None:
    """The job of a tag, as the runner's shell has it."""
    document = load_yaml(ROOT / "docs" / "examples" / "gitlab" / "gitlab-ci.yml")
    script = "\n".join(["set -e", *document["publish"]["script"]])
    program = runner.temp / "sevbuild" / "bin"
    (runner.workspace / ".sevbuild").symlink_to(program.parent)

    def status(**variables: str) -> int:
        environment = {**os.environ, **document["variables"], **variables}
        command = ["sh", "-c", script]
        return subprocess.run(
            command, check=False, capture_output=True, cwd=runner.workspace, env=environment
        ).returncode

    assert status() == 0
    shutil.rmtree(runner.workspace / "release")
    manifest = runner.workspace / "guest.toml"
    manifest.write_text(manifest.read_text().replace("0x30000", "0xb0000"))
    assert status() == 1
    assert not (runner.workspace / "release").exists()


Hook = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hook(runner: Runner) -> Hook:
    """Return what runs a hook as pre-commit does, in a repository with a guest of another name and a lock."""
    folder = runner.workspace
    (folder / "guests").mkdir()
    for path in list(folder.iterdir()):
        if path.is_file():
            path.rename(folder / "guests" / path.name.replace("guest.", "prod."))
    (folder / "README.md").write_text("# guests\n")
    (folder / "Cargo.toml").write_text('[package]\nname = "x"\n')
    (folder / "Cargo.lock").write_text("version = 4\n")
    environment = {**os.environ, "PATH": f"{runner.temp / 'sevbuild' / 'bin'}:{os.environ['PATH']}"}
    environment.update(dict.fromkeys(("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"), os.devnull))
    hooks = {entry["id"]: entry for entry in load_yaml(ROOT / ".pre-commit-hooks.yaml")}

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], check=True, capture_output=True, cwd=folder, env=environment)

    def run_hook(name: str, *changed: str) -> subprocess.CompletedProcess[str]:
        git("add", "--all")
        entry = hooks[name]
        given = [path for path in changed if re.search(entry.get("files", ""), path)]
        command = [*shlex.split(entry["entry"]), *given]
        if not given and not entry.get("always_run", False):
            return subprocess.CompletedProcess(command, 0, "", "(no files to check) Skipped")
        return subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=folder, env=environment
        )

    git("init", "--quiet")
    git("config", "user.email", "nobody@example.org")
    git("config", "user.name", "nobody")
    git("add", "--all")
    git("commit", "--quiet", "--message", "guests")
    return run_hook


def test_hooks_run_on_a_manifest_of_any_name(runner: Runner, hook: Hook) -> None:
    manifest = runner.workspace / "guests" / "prod.toml"
    manifest.write_text(manifest.read_text().replace('mode = "snp"', 'mode = "snq"'))
    ended = hook("sevbuild-check", "guests/prod.toml", "README.md")
    assert ended.returncode == 2
    assert "guests/prod.toml:" in ended.stderr


def test_hooks_run_when_an_input_changes(runner: Runner, hook: Hook) -> None:
    assert hook("sevbuild-locked", "guests/hello.fd").returncode == 0
    _change(runner.workspace / "guests" / "hello.fd")
    ended = hook("sevbuild-locked", "guests/hello.fd")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "guests/prod.lock is stale" in ended.stderr


def test_hooks_run_when_an_input_is_deleted(runner: Runner, hook: Hook) -> None:
    (runner.workspace / "guests" / "hello.fd").unlink()
    ended = hook("sevbuild-check")
    assert ended.returncode == 2
    assert "hello.fd" in ended.stderr


def test_hooks_run_when_the_lock_changes(runner: Runner, hook: Hook) -> None:
    lock = runner.workspace / "guests" / "prod.lock"
    lock.write_text(lock.read_text().replace("size = 65536", "size = 65537"))
    assert hook("sevbuild-locked", "guests/prod.lock").returncode == 1
    lock.unlink()
    ended = hook("sevbuild-locked")
    assert (ended.returncode, ended.stdout) == (1, "")


@pytest.mark.parametrize("name", ["sevbuild-check", "sevbuild-locked"])
def test_hooks_keep_the_highest_exit_code(runner: Runner, hook: Hook, name: str) -> None:
    """A stale lock is 1 and a faulty manifest 2, in whatever order they come."""
    for folder in ("guest", "z"):
        shutil.copytree(runner.workspace / "guests", runner.workspace / folder)
        (runner.workspace / folder / "prod.toml").rename(runner.workspace / folder / "guest.toml")
        (runner.workspace / folder / "prod.lock").rename(runner.workspace / folder / "guest.lock")
    (runner.workspace / "guest" / "guest.toml").write_text("schema = 2\n")
    stale = runner.workspace / "z" / "guest.lock"
    stale.write_text(stale.read_text().replace("size = 65536", "size = 65537"))
    manifests = [f"{folder}/guest.{kind}" for folder in ("guest", "z") for kind in ("lock", "toml")]
    ended = hook(name, *manifests)
    assert ended.returncode == 2
    assert "schema version 2" in ended.stderr
    assert ("z/guest.lock is stale" in ended.stderr) == (name == "sevbuild-locked")


def test_hooks_leave_alone_what_a_change_does_not_concern(runner: Runner, hook: Hook) -> None:
    """A guest that is at fault is no reason to refuse a commit to something else; a change to it is."""
    (runner.workspace / "guests" / "hello.fd").write_bytes(b"broken")
    hook("sevbuild-check")
    for name in ("sevbuild-check", "sevbuild-locked"):
        ended = hook(name, "README.md", "Cargo.toml", "Cargo.lock")
        assert (ended.returncode, ended.stderr, ended.stdout) == (0, "", "")
        assert hook(name, "README.md", "guests/hello.fd").returncode != 0
