"""A8: bytes in are bytes out, whatever the locale says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.firmware import standard_firmware
from tests.support.guests import write_manifest
from tests.support.real import require, tool
from tests.support.shared import ROOT

pytestmark = pytest.mark.slow

LINE = "root=/dev/größe name=€漢"
NAMES = {"firmware": "Übung.fd", "kernel": "größe", "initrd": "漢.img"}

Environment = dict[str, str]


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Environment]:
    """Return what sets each locale: UTF-8, then those in which Python takes bytes for something else."""
    folder = tmp_path_factory.mktemp("locales")
    plain = {"PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    found = {"C.UTF-8": {"LC_ALL": "C.UTF-8"}, "C": {"LC_ALL": "C", **plain}}
    # As the installed script is: `python -m` looks into the current folder, whose name Python may not know.
    (folder / "sevbuild").write_text("from sevbuild.cli import main\nmain()\n")
    for environment in found.values():
        environment["SCRIPT"] = str(folder / "sevbuild")
    # The second takes several bytes for one character, and some for none.
    for name in ("de_DE.ISO-8859-1", "ja_JP.EUC-JP"):
        language, _, charmap = name.partition(".")
        command = [*tool("localedef"), "-i", language, "-f", charmap, str(folder / name)]
        made = subprocess.run(command, check=False, capture_output=True, text=True)
        require((folder / name).is_dir(), f"the locale {name} ({made.stderr.strip()})")
        found[name] = {**found["C"], "LC_ALL": name, "LOCPATH": str(folder)}
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a guest whose folder, files and command line are not ASCII."""
    place = tmp_path / "Käse größe"
    place.mkdir()
    image = standard_firmware()
    (place / NAMES["firmware"]).write_bytes(image)
    (place / NAMES["kernel"]).write_bytes(b"\x01kernel")
    (place / NAMES["initrd"]).write_bytes(b"\x01initrd")
    _manifest(place, {"cmdline": LINE})
    return place


def _manifest(folder: Path, kernel: dict[str, str]) -> Path:
    return write_manifest(
        folder,
        firmware={"path": NAMES["firmware"]},
        kernel={"path": NAMES["kernel"], **kernel},
        initrd={"path": NAMES["initrd"]},
    )


def run(
    environment: Environment, *arguments: str | bytes | Path, cwd: Path | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run the program under a locale; arguments are passed on as bytes."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    return subprocess.run(
        [sys.executable, environment["SCRIPT"], *arguments],
        check=False,
        capture_output=True,
        input=stdin,
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(ROOT), **environment},
    )


def everywhere(locales: dict[str, Environment], *arguments: str | bytes | Path, **more: Any) -> bytes:
    """Return what a command prints, having seen that it prints the same under each locale."""
    outputs = {}
    for name, environment in locales.items():
        result = run(environment, *arguments, **more)
        assert result.returncode == 0, (name, result.stderr)
        outputs[name] = result.stdout
    assert set(outputs.values()) == {outputs["C.UTF-8"]}
    return outputs["C.UTF-8"]


def test_a_program_knows_the_locale_it_is_tested_under(locales: dict[str, Environment], folder: Path) -> None:
    """The locale is there: Python itself takes the bytes for another encoding, and we none the less not."""
    for name, encoding in (("de_DE.ISO-8859-1", "iso8859-1"), ("ja_JP.EUC-JP", "euc_jp"), ("C", "ascii")):
        script = "import sys; print(sys.getfilesystemencoding())"
        found = subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            capture_output=True,
            env={**os.environ, **locales[name]},
        )
        assert found.stdout.decode().strip() == encoding
    everywhere(locales, "measure", "-q", folder / "guest.toml")


def test_measured_bytes_are_those_of_the_manifest(locales: dict[str, Environment], folder: Path) -> None:
    document = json.loads(everywhere(locales, "measure", "-q", "-f", "json", folder / "guest.toml"))
    assert document["values"][0]["cmdline"] == LINE
    assert [entry["name"] for entry in document["inputs"]] == list(NAMES.values())
    inside = everywhere(locales, "measure", "-q", "-f", "json", "guest.toml", cwd=folder)
    assert json.loads(inside) == document


@pytest.mark.parametrize(
    "line", [LINE.encode(), b"latin=\xe4\xff", "Ã¼".encode()], ids=["utf8", "raw", "double"]
)
def test_a_command_line_given_is_measured_as_its_bytes(
    locales: dict[str, Environment], folder: Path, line: bytes
) -> None:
    given = everywhere(locales, "measure", "-q", folder / "guest.toml", "--set", b"kernel.cmdline=" + line)
    (folder / "line").write_bytes(line)
    _manifest(folder, {"cmdline-file": "line"})
    assert everywhere(locales, "measure", "-q", folder / "guest.toml") == given
    values = folder / "values.json"
    values.write_bytes(everywhere(locales, "measure", "-q", "-f", "json", folder / "guest.toml"))
    assert everywhere(locales, "recompute", values, "--cmdline", line) == given


@pytest.mark.parametrize("fmt", ["shell", "json", "libvirt"])
def test_launch_commands_carry_the_command_line_measured(
    locales: dict[str, Environment], folder: Path, fmt: str
) -> None:
    data = everywhere(locales, "qemu-args", "-q", "-f", fmt, "guest.toml", cwd=folder)
    if fmt == "json":
        words = json.loads(data)
        assert words[words.index("-append") + 1] == LINE
    elif fmt == "libvirt":
        assert f"<cmdline>{LINE}</cmdline>".encode() in data
    else:
        assert f"'{LINE}'".encode() in data


def test_a_bundle_is_the_same_and_is_verified(
    locales: dict[str, Environment], folder: Path, tmp_path: Path
) -> None:
    bundles = []
    for index, environment in enumerate(locales.values()):
        output = tmp_path / f"Bündel{index}"
        result = run(environment, "build", "-q", folder / "guest.toml", "-o", output)
        assert result.returncode == 0, result.stderr
        bundles.append({
            str(path.relative_to(output)): path.read_bytes() for path in sorted(output.rglob("*")) if path.is_file()
        })  # fmt: skip
    assert all(bundle == bundles[0] for bundle in bundles)
    for environment in locales.values():
        result = run(environment, "verify", tmp_path / "Bündel0")
        assert result.returncode == 0, result.stderr


def test_a_release_and_a_lock_are_the_same(
    locales: dict[str, Environment], folder: Path, tmp_path: Path
) -> None:
    everywhere(locales, "lock", "-o", "-", folder / "guest.toml")
    assert run(locales["C.UTF-8"], "lock", folder / "guest.toml").returncode == 0
    everywhere(locales, "check", "-q", "--locked", folder / "guest.toml")
    releases = []
    for index, environment in enumerate(locales.values()):
        output = tmp_path / f"Ausgabe ß{index}"
        result = run(environment, "publish", "-q", folder / "guest.toml", "-o", output)
        assert result.returncode == 0, result.stderr
        releases.append({path.name: path.read_bytes() for path in sorted(output.iterdir())})
    assert all(release == releases[0] for release in releases)


def test_what_is_imported_says_the_same(locales: dict[str, Environment], folder: Path) -> None:
    words = ["qemu-system-x86_64", "-cpu", "EPYC-v4", "-smp", "1"]
    words += [
        "-object",
        "sev-snp-guest,id=sev0,kernel-hashes=on",
        "-machine",
        "q35,confidential-guest-support=sev0",
    ]
    words += ["-bios", NAMES["firmware"], "-kernel", NAMES["kernel"], "-append", LINE]
    text = everywhere(locales, "import", "-q", "--", *words, cwd=folder).decode()
    assert f'cmdline = "{LINE}"' in text
    script = " ".join(f"'{word}'" for word in words).encode()
    assert f'cmdline = "{LINE}"' in everywhere(locales, "import", "-q", cwd=folder, stdin=script).decode()


def test_a_path_at_fault_is_named_and_no_traceback(locales: dict[str, Environment], folder: Path) -> None:
    (folder / NAMES["kernel"]).unlink()
    for environment in locales.values():
        result = run(environment, "measure", "-q", "guest.toml", cwd=folder)
        assert (result.returncode, result.stdout) == (2, b"")
        message = "kernel.path: cannot read größe: No such file or directory\n"
        assert result.stderr.startswith(b"error: guest.toml:")
        assert result.stderr.endswith(message.encode())


def test_the_library_opens_and_writes_the_same_bytes(locales: dict[str, Environment], folder: Path) -> None:
    """A program that calls the package is no command of ours, and runs as Python was started."""
    script = (
        "import sys\n"
        "from sevbuild.commands.files import qemu_json\n"
        "from sevbuild.commands.launch import describe_launch\n"
        "from sevbuild.guest.guest import load_guest\n"
        "guest = load_guest('guest.toml')\n"
        "(measured,) = guest.measure()\n"
        "files = {'firmware': 'f', 'kernel': 'k', 'initrd': 'i'}\n"
        "launch = describe_launch(guest, measured.target, files)\n"
        "print(measured.digest.hex(), qemu_json(launch).decode('utf-8'))\n"
    )
    outputs = set()
    for environment in locales.values():
        result = subprocess.run(
            [sys.executable, "-c", script],
            check=False,
            capture_output=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        assert result.returncode == 0, result.stderr
        outputs.add(result.stdout)
    assert len(outputs) == 1
