"""Formats that shells, people and Trustee read."""

from __future__ import annotations

import json
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild.errors import SevbuildError
from sevbuild.reference.export.interface import ExportOptions
from sevbuild.reference.export.registry import exporter, render
from sevbuild.reference.export.text import shell_word
from tests.export.support import document, rendered, typed
from tests.support.shared import shared_file


def test_a_shell_reads_digests_a_line_each(tmp_path: Path) -> None:
    of = document("matrix")
    (tmp_path / "d").write_bytes(rendered("hex", of)["launch-digests.hex"])
    script = 'while read -r digest; do printf "%s\\n" "$digest"; done < d; grep -qxF "$1" d'
    wanted = of["values"][3]["digest"]
    result = subprocess.run(
        ["sh", "-c", script, "sh", wanted], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert result.stdout.split() == [value["digest"] for value in of["values"]]


def test_equal_digests_are_one_line() -> None:
    of = document("owner")
    assert len(rendered("hex", of)["launch-digests.hex"].split()) == 3


def test_sha384sum_reads_the_lines(tmp_path: Path) -> None:
    """No file has a launch digest for its hash, so sha384sum must find every line well-formed and false."""
    of = document("matrix")
    for value in of["values"]:
        (tmp_path / value["label"]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / value["label"]).touch()
    (tmp_path / "sums").write_bytes(rendered("sha384sums", of)["launch-digests.sha384"])
    result = subprocess.run(
        ["sha384sum", "--check", "--strict", "--warn", "sums"],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.stdout.splitlines() == [f"{value['label']}: FAILED" for value in of["values"]]
    assert "improperly formatted" not in result.stderr


def test_trustees_message_carries_the_payload() -> None:
    of = document("matrix")
    files = rendered("rvps", of)
    message = json.loads(files["rvps-message.json"])
    assert {**message, "payload": ""} == {"version": "0.1.0", "type": "sample", "payload": ""}
    assert b64decode(message["payload"], validate=True) == files["rvps-payload.json"]
    assert json.loads(files["rvps-payload.json"]) == {
        "snp_launch_measurement": [value["digest"] for value in of["values"]],
        "snp_guest_abi_major": 0,
        "snp_guest_abi_minor": 0,
        "snp_single_socket": False,
        "snp_smt_allowed": True,
    }


def test_what_the_policies_do_not_agree_on_is_left_out() -> None:
    of = document("matrix")
    of["values"][0]["policy"] = "0xa0137"
    payload = json.loads(rendered("rvps", of)["rvps-payload.json"])
    assert set(payload) == {"snp_launch_measurement", "snp_single_socket"}
    notes = exporter("rvps").notes(typed(of), ExportOptions())
    assert notes[0].startswith(
        "leaves to the operator: snp_guest_abi_major, snp_guest_abi_minor, snp_smt_allowed"
    )
    assert any("allows debugging" in note for note in notes)


def test_the_config_map_is_the_operators() -> None:
    files = rendered("rvps", document("matrix"), name="my/fleet", config_map="values", namespace="trustee")
    head, _, block = files["rvps-configmap.yaml"].decode().partition("  reference_value: |\n")
    assert 'name: "values"' in head
    assert 'namespace: "trustee"' in head
    assert all(line.startswith("    ") for line in block.splitlines())
    stored = {name: json.loads(b64decode(value)) for name, value in json.loads(block).items()}
    payload = json.loads(files["rvps-payload.json"])
    assert stored == {
        name: {"name": name, "expiration": "2027-01-01T00:00:00Z", "value": value}
        for name, value in payload.items()
    }


def test_the_config_map_is_shaped_like_the_operators_own() -> None:
    theirs = shared_file("publish/trustee/operator-05-rvps-reference-values.yaml").read_text()
    ours = rendered("rvps", document("matrix"))["rvps-configmap.yaml"].decode()

    def shape(text: str) -> list[str]:
        head, _, block = text.partition("  reference_value: |\n")
        keys = [line.partition(":")[0] for line in head.splitlines()]
        values = [json.loads(b64decode(value)) for value in json.loads(block).values()]
        return [*keys, *sorted({key for value in values for key in value})]

    assert shape(ours) == shape(theirs)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"name": "/x"}, "not the name of a reference value"),
        ({"name": "a b"}, "not the name of a reference value"),
        ({"expiration": "tomorrow"}, "not an expiration"),
        ({"expiration": "2027-02-30T00:00:00Z"}, "not an expiration"),
        ({"expiration": "2027-01-01T00:00:00+01:00"}, "not an expiration"),
        ({"namespace": "a\nb"}, "not a name in Kubernetes"),
    ],
)
def test_names_and_times_are_checked(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        rendered("rvps", document("matrix"), **extra)


def test_without_an_expiration_there_is_no_config_map() -> None:
    assert list(render("rvps", typed(document("matrix")), ExportOptions())) == [
        "rvps-message.json",
        "rvps-payload.json",
    ]
    with pytest.raises(SevbuildError, match="config-map is of a ConfigMap, which needs expiration"):
        render("rvps", typed(document("matrix")), ExportOptions({"config-map": "x"}))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_a_shell_reads_a_word_back(text: str) -> None:
    command = f"printf %s {shell_word(text)}"
    assert subprocess.run(["sh", "-c", command], check=True, capture_output=True).stdout == text.encode()
