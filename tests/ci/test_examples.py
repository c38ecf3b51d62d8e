"""Every example for a CI system is linted by a tool of others, and what can run here runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from sevbuild.cli import VERBS
from tests.support.actions import Runner, load_yaml
from tests.support.cli import run
from tests.support.real import tool
from tests.support.shared import ROOT

EXAMPLES = ROOT / "docs" / "examples"
WORKFLOWS = sorted([*EXAMPLES.glob("github/*.yml"), *ROOT.glob(".github/workflows/*.yml")])
FORMS = sorted(path for path in ROOT.glob(".github/ISSUE_TEMPLATE/*.yml") if path.name != "config.yml")
SCRIPTS = [
    ROOT / ".ci" / "run",
    ROOT / ".ci" / "suite",
    ROOT / "tools" / "action.sh",
    *sorted(EXAMPLES.glob("mkosi/mkosi.postoutput")),
]
SCHEMAS = [
    ("vendor.github-actions", ROOT / "action.yml"),
    *(("vendor.github-workflows", path) for path in WORKFLOWS),
    ("vendor.gitlab-ci", EXAMPLES / "gitlab" / "gitlab-ci.yml"),
    *(("vendor.github-issue-forms", path) for path in FORMS),
    ("vendor.github-issue-config", ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"),
]


def check(*command: str | Path, stdin: str | None = None) -> None:
    result = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, cwd=ROOT, input=stdin
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_example_is_looked_at() -> None:
    known = {path for _, path in SCHEMAS} | set(SCRIPTS)
    mkosi = [EXAMPLES / "mkosi" / name for name in ("guest.toml", "mkosi.conf")]
    known |= set(EXAMPLES.glob("nix/*")) | set(EXAMPLES.glob("bazel/*"))  # tests/ci/test_build_systems.py
    known |= {EXAMPLES / "pre-commit" / "pre-commit-config.yaml", *mkosi}
    assert {path for path in EXAMPLES.rglob("*") if path.is_file()} <= known


@pytest.mark.parametrize(("schema", "path"), SCHEMAS, ids=lambda value: getattr(value, "name", value))
def test_documents_have_the_shape_their_reader_wants(schema: str, path: Path) -> None:
    more = ("--data-transform", "gitlab-ci") if "gitlab" in schema else ()
    check(*tool("check-jsonschema"), "--builtin-schema", schema, *more, path)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_every_form_asks_for_the_plan(path: Path) -> None:
    fields = {entry["id"]: entry for entry in load_yaml(path)["body"] if "id" in entry}
    command = re.search("`(sevbuild plan [^`]*)`", fields["plan"]["attributes"]["description"])
    assert command
    assert command[1].endswith("--format json")


def test_who_works_here_has_the_checks_of_the_makefile() -> None:
    path = ROOT / ".pre-commit-config.yaml"
    check(*tool("pre-commit"), "validate-config", path)
    (repository,) = load_yaml(path)["repos"]
    commands = {hook["id"]: hook["entry"] for hook in repository["hooks"]}
    makefile = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
    for command in (".venv/bin/ruff check", ".venv/bin/ruff format", ".venv/bin/mypy", "tools/make_docs.py"):
        assert command in makefile
        assert any(command in entry for entry in commands.values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actionlint_finds_nothing(path: Path) -> None:
    check(*tool("actionlint"), "-no-color", "-shellcheck", *tool("shellcheck"), path)


def test_zizmor_finds_no_injection() -> None:
    check(*tool("zizmor"), "--offline", "--no-progress", "--persona", "pedantic", "action.yml", *WORKFLOWS)


def test_zizmor_would_find_one(tmp_path: Path) -> None:
    text = (ROOT / "action.yml").read_text()
    (tmp_path / "action.yml").write_text(text.replace('-- "$SEVBUILD_MANIFEST"', "-- ${{ inputs.manifest }}"))
    command = [*tool("zizmor"), "--offline", "--no-progress", str(tmp_path / "action.yml")]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert "template-injection" in result.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    check(*tool("shellcheck"), path)


def test_the_scripts_of_the_action() -> None:
    for step in load_yaml(ROOT / "action.yml")["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]
        check(*tool("shellcheck"), "--shell=bash", "-", stdin=step["run"])


def test_the_scripts_for_gitlab() -> None:
    document = load_yaml(EXAMPLES / "gitlab" / "gitlab-ci.yml")
    for job in (document["default"], document["measure"], document["publish"]):
        lines = [*job.get("before_script", []), *job.get("script", [])]
        check(*tool("shellcheck"), "--shell=sh", "--exclude=SC2154", "-", stdin="\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("validate-manifest", ROOT / ".pre-commit-hooks.yaml"),
        ("validate-config", EXAMPLES / "pre-commit" / "pre-commit-config.yaml"),
    ],
)
def test_pre_commit_takes_the_files(verb: str, path: Path) -> None:
    check(*tool("pre-commit"), verb, path)


def test_the_hooks_of_the_example_exist() -> None:
    hooks = {hook["id"] for hook in load_yaml(ROOT / ".pre-commit-hooks.yaml")}
    (repo,) = load_yaml(EXAMPLES / "pre-commit" / "pre-commit-config.yaml")["repos"]
    assert {hook["id"] for hook in repo["hooks"]} == hooks


def test_the_verbs_of_the_examples() -> None:
    text = "".join(path.read_text() for path in [*EXAMPLES.rglob("*.yml"), *SCRIPTS[3:]])
    called = set(re.findall(r'bin/sevbuild ([a-z-]+)|sevbuild}" ([a-z-]+)', text))
    verbs = {first or second for first, second in called}
    assert {"check", "measure", "publish"} <= verbs
    if "publish" not in VERBS:
        pytest.skip("`sevbuild publish` is not in this version")
    assert verbs <= set(VERBS)


def _hook(name: str, folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Run a hook as pre-commit does: its entry, split as a shell would, and the files behind it."""
    runner = Runner(folder)
    runner.provide()
    shutil.copytree(ROOT / "guests" / "hello", runner.workspace / "hello")
    (runner.workspace / "bad").mkdir()
    (runner.workspace / "bad" / "guest.toml").write_text("schema = 2\n")
    hooks = {hook["id"]: hook for hook in load_yaml(ROOT / ".pre-commit-hooks.yaml")}
    env = {**os.environ, "PATH": f"{runner.temp / 'sevbuild' / 'bin'}:{os.environ['PATH']}"}
    command = [*shlex.split(hooks[name]["entry"]), *files]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=runner.workspace, env=env)


def test_the_check_hook_fails_on_a_fault(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    good = _hook("sevbuild-check", tmp_path / "good", "hello/guest.toml")
    assert (good.returncode, good.stderr) == (0, "")
    bad = _hook("sevbuild-check", tmp_path / "bad", "bad/guest.toml", "hello/guest.toml")
    assert bad.returncode == 2
    assert "bad/guest.toml:1: " in bad.stderr
    assert "hello/guest.toml: 1 target" in bad.stdout


def test_the_lock_hook_fails_on_a_stale_lock(tmp_path: Path) -> None:
    if "--locked" not in run("check", "--help").out:
        pytest.skip("`sevbuild check --locked` is not in this version")
    result = _hook("sevbuild-locked", tmp_path, "bad/guest.lock")
    assert result.returncode == 1
    assert "guest." in result.stderr
