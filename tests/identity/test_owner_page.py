"""Every command of docs/sev-guest-owner.md runs, with a real platform's certificates and a played host."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

from sevbuild.identity.launch_secret import SecretPacket, decode_table
from sevbuild.identity.sev_session import TransportKeys
from tests.support.sev_owner import blob_of, libvirt_lines, publish_guest
from tests.support.shared import ROOT, shared_file

PAGE = (ROOT / "docs" / "sev-guest-owner.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def _shell(folder: Path, text: str) -> str:
    environment = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-c", f"set -eu -o pipefail\n{text}"]
    result = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_every_command_runs(tmp_path: Path) -> None:
    shutil.copytree(shared_file("sev-certs/rome"), tmp_path / "platform")
    value = publish_guest(tmp_path)[-1]
    (tmp_path / "passphrase.txt").write_text("open sesame")
    (tmp_path / "token.bin").write_bytes(bytes(100))
    create, verify, measurement, secret = BLOCKS
    assert "Rome" in _shell(tmp_path, create)
    tek, tik = ((tmp_path / "session" / f"vm_{name}.bin").read_bytes() for name in ("tek", "tik"))
    blob = blob_of(value, tik)
    lines = libvirt_lines(blob)
    (tmp_path / "host.txt").write_text(lines)
    assert f"```text\n{_shell(tmp_path, verify)}```" in PAGE
    assert lines.split()[1] in _shell(tmp_path, measurement)
    _shell(tmp_path, secret)
    packet = SecretPacket(
        *(b64decode((tmp_path / name).read_text()) for name in ("secret-header.b64", "secret.b64"))
    )
    plain = packet.open(TransportKeys(tek, tik), len(packet.payload), blob[:32])
    assert plain is not None
    assert [one.data for one in decode_table(plain, "table")] == [b"open sesame", bytes(100)]
