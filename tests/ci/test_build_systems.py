"""The examples for Nix and Bazel: linted by their own tools, and what they would run is run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sevbuild.reference.read import read_reference_values
from tests.support.cli import run
from tests.support.real import tool
from tests.support.shared import ROOT

NIX = ROOT / "docs" / "examples" / "nix" / "reference-values.nix"
BAZEL = ROOT / "docs" / "examples" / "bazel"
HELLO = ROOT / "guests" / "hello"

# What nixpkgs gives to the function, as far as it asks for it.
FAKE_NIXPKGS = """
let
  lib = {
    escapeShellArg = text: "'" + builtins.replaceStrings ["'"] ["'\\\\''"] text + "'";
    concatStringsSep = builtins.concatStringsSep;
    mapAttrsToList = f: set: map (name: f name set.${name}) (builtins.attrNames set);
    optionalString = wanted: text: if wanted then text else "";
  };
  arguments = builtins.fromJSON (builtins.readFile %s);
in
import %s ({ inherit lib; runCommand = name: env: script: script; sevbuild = "sevbuild"; } // arguments)
"""


def sevbuild_on_path(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which `sevbuild` is this checkout's, and nothing else of the machine's."""
    program = tmp_path / "bin" / "sevbuild"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m sevbuild "$@"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(tmp_path)}


def shell(script: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


def nix_script(tmp_path: Path, **arguments: Any) -> str:
    given = tmp_path / "arguments.json"
    given.write_text(json.dumps(arguments))
    command = [
        *tool("nix-instantiate"),
        "--eval",
        "--strict",
        "--json",
        "--expr",
        FAKE_NIXPKGS % (given, NIX),
    ]
    places = {
        "NIX_STORE_DIR": "store",
        "NIX_STATE_DIR": "state",
        "NIX_LOG_DIR": "log",
        "NIX_CONF_DIR": "conf",
    }
    environment = {name: str(tmp_path / "nix" / place) for name, place in places.items()}
    result = subprocess.run(
        command, env={**environment, "HOME": str(tmp_path)}, check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return str(json.loads(result.stdout))


def test_the_nix_derivation_publishes_what_was_published_before(tmp_path: Path) -> None:
    script = nix_script(
        tmp_path,
        manifest=str(HELLO / "guest.toml"),
        inputs={"firmware.path": str(HELLO / "hello.fd")},
        published=str(HELLO / "reference-values.json"),
    )
    environment = {**sevbuild_on_path(tmp_path), "out": str(tmp_path / "store")}
    result = shell(script, tmp_path, environment)
    assert result.returncode == 0, result.stderr
    published = (tmp_path / "store" / "reference-values.json").read_bytes()
    assert published == (HELLO / "reference-values.json").read_bytes()


def test_the_nix_derivation_fails_for_another_guest(tmp_path: Path) -> None:
    firmware = bytearray((HELLO / "hello.fd").read_bytes())
    firmware[0] ^= 1
    (tmp_path / "it's other.fd").write_bytes(firmware)
    script = nix_script(
        tmp_path,
        manifest=str(HELLO / "guest.toml"),
        inputs={"firmware.path": str(tmp_path / "it's other.fd")},
        published=str(HELLO / "reference-values.json"),
    )
    environment = {**sevbuild_on_path(tmp_path), "out": str(tmp_path / "store")}
    result = shell(script, tmp_path, environment)
    assert result.returncode == 1, result.stderr
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["defs.bzl", "BUILD.bazel"])
def test_buildifier_has_nothing_to_say(name: str) -> None:
    command = [*tool("buildifier"), "-mode=check", "-lint=warn", "-warnings=all", str(BAZEL / name)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def bazel_rules(build: str) -> list[dict[str, Any]]:
    """Return the arguments of each genrule that a build file of the example declares."""
    import starlark

    rules: list[dict[str, Any]] = []
    # Bazel has `native` as a struct; the dialect at hand has no structs, so the macro is given a function.
    macros = (BAZEL / "defs.bzl").read_text().replace("native.genrule(", "native_genrule(")
    module = starlark.Module()
    module.add_callable("native_genrule", lambda **arguments: rules.append(arguments))
    globals_ = starlark.Globals.standard()
    starlark.eval(module, starlark.parse("defs.bzl", macros), globals_)
    body = "".join(line for line in build.splitlines(keepends=True) if not line.startswith("load("))
    starlark.eval(module, starlark.parse("BUILD.bazel", body), globals_)
    return rules


def bazel_command(rule: dict[str, Any], places: dict[str, Path], out: Path) -> str:
    """Return the shell command of a genrule as Bazel expands it, with files in these places."""
    command = str(rule["cmd"])
    for label in [*rule["srcs"], *rule["tools"]]:
        command = command.replace(f"$(execpath {label})", str(places[label]))
    assert "$(" not in command, command
    return command.replace("$@", str(out)).replace("$$", "$")


def test_the_bazel_rule_names_every_file_it_reads() -> None:
    (rule,) = bazel_rules((BAZEL / "BUILD.bazel").read_text())
    places = {label: Path("x") for label in [*rule["srcs"], *rule["tools"]]}
    command = bazel_command(rule, places, Path("out"))
    assert command.count("--set") == 3
    assert rule["outs"] == ["guest.reference-values.json"]


def test_the_bazel_rule_measures(tmp_path: Path) -> None:
    build = (
        'guest_reference_values(name = "hello", manifest = "guest.toml",'
        ' inputs = {"firmware.path": "hello.fd"}, published = "published.json")\n'
    )
    (rule,) = bazel_rules(build)
    places = {
        "guest.toml": Path("guest.toml"),
        "hello.fd": Path("hello.fd"),
        "//tools:sevbuild": Path("sevbuild"),
    }
    places["published.json"] = HELLO / "reference-values.json"
    for name in ("guest.toml", "hello.fd"):
        (tmp_path / name).write_bytes((HELLO / name).read_bytes())
    result = shell(bazel_command(rule, places, Path("out.json")), tmp_path, sevbuild_on_path(tmp_path))
    assert result.returncode == 0, result.stderr
    values = read_reference_values("out.json", (tmp_path / "out.json").read_bytes())
    assert [value.digest.hex() for value in values.values] == [
        run("measure", "-q", HELLO / "guest.toml").out.strip()
    ]
