"""The `[publish]` table of a manifest, decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sevbuild.errors import FaultsError
from sevbuild.guest.guest import load_guest
from sevbuild.manifest.formats import FORMATS
from tests.export.support import fitting, rendered
from tests.support.guests import write_manifest


def _publish(folder: Path, table: Any) -> Any:
    path = write_manifest(folder, firmware={"path": "OVMF.fd"}, publish=table)
    return load_guest(str(path)).manifest.publish


def test_formats_and_values_are_decoded(tmp_path: Path) -> None:
    found = _publish(
        tmp_path,
        {
            "formats": ["rvps", "contrast"],
            "rvps": {"name": "x"},
            "contrast": {"smt-enabled": False, "tcb-snp": 24, "allowed-chip-ids": "AB" * 64},
            "tinfoil": {"rtmr1": "0x" + "cd" * 48},
        },
    )
    assert found.formats == ("rvps", "contrast")
    assert found.values == {
        "rvps": {"name": "x"},
        "contrast": {"smt-enabled": False, "tcb-snp": 24, "allowed-chip-ids": (b"\xab" * 64,)},
        "tinfoil": {"rtmr1": b"\xcd" * 48},
    }
    assert _publish(tmp_path, {}).formats is None
    assert _publish(tmp_path, None) is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"formats": ["rvsp"]}, "publish.formats[0]: unknown value 'rvsp'"),
        ({"formats": ["hex", "hex"]}, "publish.formats: lists the same one twice"),
        ({"formats": []}, "publish.formats: must not be empty"),
        ({"rvps": {"nmae": "x"}}, "publish.rvps.nmae: unknown key"),
        ({"rvsp": {}}, "publish.rvsp: unknown key"),
        ({"rvps": {"name": ""}}, "publish.rvps.name: must not be empty"),
        ({"rvps": 3}, "publish.rvps: must be a table, got an integer"),
        ({"contrast": {"tcb-snp": 256}}, "publish.contrast.tcb-snp: must be 0..255, got 256"),
        ({"tinfoil": {"rtmr1": "ab"}}, "publish.tinfoil.rtmr1: must be 96 hexadecimal digits"),
        (["hex"], "publish: must be a table, got a list"),
    ],
)
def test_faults_have_their_place(tmp_path: Path, table: Any, message: str) -> None:
    with pytest.raises(FaultsError) as caught:
        _publish(tmp_path, table)
    assert [f"{fault.path}: {fault.message}".startswith(message) for fault in caught.value.faults] == [True]
    assert caught.value.faults[0].line is not None


def test_no_two_formats_write_one_file() -> None:
    names: list[str] = []
    for name in FORMATS:
        names += rendered(name, fitting(name))
    assert len(set(names)) == len(names)
    assert not {"reference-values.json", "SHA256SUMS"} & set(names)
