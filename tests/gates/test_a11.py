"""VP contexts of several platforms, measured as igvmmeasure and the igvm crate do, and --mode.

The files are those of tests/data/igvm, which has their provenance and that of the digests.
"""

from __future__ import annotations

import json
import zlib
from base64 import b85decode
from pathlib import Path

import pytest

from tests.support.cli import run
from tests.support.guests import write_manifest

FILES = {
    "native-contexts-last": (
        "c-rmRF;2rU6b9gz5F{iRip0Q3kI<d~CSYJ-VPXh3=@B?2>dXzO)1-C>P}K^lD14vf$a#O9M9%b-"
        "$NQJ3Dk84acu14>E#mcKzU*p~G@3M`?#_Cf`dL03>Q!HlIA0%|p<bW#_ugE4kw#mVmHejU+j4%}=iPJL%aS)Kzv?ERUrGPmcDf^<"
        "l{e4%V156)Z`N<;&pXzqyw3Xq0001tT@3&L0E}LY&E#*tM&9s6z}}_@uB&Vv005x>KTiMu?o*-"
        "v2LJ&6k;U)y_OqXYQ(FuG002j~&wp_JKL7v#9ApL2@<)0"
    ),
    "snp-and-sev-es": (
        "c-rmUJx+u`6ae4{xP=`i7Pfi<J%W|7u&}Y#BiK#pk-UwkFj-Hq%g?fd3AU`6d|v_#?=i!`RMWi2hnJ@+BCfjQwQHpJh@bD9uRhjx"
        "M}LjYa2`zYy1%Js@oJ23X3x#z5zTO}5An0^_Ofqmcb)P1l!sf+U*vJ?W}NdB=|@l3x&JZWR>$|IyT9|p`1cF>!;G8wE%(p)^t|wW"
        "w;%caZ&9xHe@|mtm+dZKHI-"
        "ig007wkpJe|ZpOy;ye*ger#eD$)002<D8UO$QC|&~q000#48~^|SD4zO%r>Xy^{y%Hh@l*c~007tn%j^p!"
    ),
    "sev-contexts": (
        "c-rmSJqp4=5C+g$qo7>`3rjshj$kDgww}|QSbB}zK$D0h;vW_w#P?u!VZNPg4zQc`Zkr-vUR7DucomV24#&EeS5@yZY}Q6foqlH@"
        "W)ZV!)%|fh7K7|^$91B~rw{Tx-"
        "F){hUv%b|RsYrf#hd>t+WB8APaho4pGU>BU=#oV0Pyz`0002cdlLWv0HF7N{s3X`{XYNz0DRjSki)4h"
    ),
}
DIGESTS: dict[str, dict[str, dict[str, str]]] = {
    "native-contexts-last": {
        "snp": {
            "igvmmeasure": "f040ebfeac64857a3e254e911a353c4f13a9d0cae8f631a1fbf03078669c0057b199cce70adbf42907056bd29b25e10e",
            "igvmmeasure-native-zero": "35c66f49fced99ed2446691f8c998d871378770b0e38cb72b7a6a54b34c6f1370bd8677aef0cd1057415f49ebcf268c2",
            "igvm-reference": "f040ebfeac64857a3e254e911a353c4f13a9d0cae8f631a1fbf03078669c0057b199cce70adbf42907056bd29b25e10e",
        }
    },
    "snp-and-sev-es": {
        "snp": {
            "igvmmeasure": "c8818fd0d03adb8d50ec3e913090d0b9e1d96b8ea00e1b20d293d6e849c042dd3d652b8e615590a285417aa17cbaf078",
            "igvmmeasure-native-zero": "20416fc0be95b0f00cd97182c1ba1a6ec1abd362ca9b59fb6c6a74fe12d0eb973b524303e993de5ae7adfe857682be36",
            "igvm-reference": "6d960eacea38a4ce5009d44f074443ece41eab795d8327a92d737fe914ab1967180f7bb1ce2c55e12b83ad3c74277fc4",
        },
        "sev-es": {"igvmmeasure": "b416219a5857a24ddd6948fb7c55977a75dbb974a2864f1f30b6fc798c5bf5cc"},
    },
    "sev-contexts": {
        "sev": {"igvmmeasure": "25bcb2422fb8e7c9612cb26be745b2f3fb45cf25296e8da1a91c4aa5df359f3f"}
    },
}


def _file(folder: Path, name: str) -> Path:
    path = folder / f"{name}.igvm"
    path.write_bytes(zlib.decompress(b85decode(FILES[name])))
    return path


@pytest.mark.parametrize("name", ["native-contexts-last", "sev-contexts"])
def test_the_digest_is_that_of_the_tool(tmp_path: Path, name: str) -> None:
    path = _file(tmp_path, name)
    mode = next(iter(DIGESTS[name]))
    for loader, digest in DIGESTS[name][mode].items():
        result = run("measure", path, "--loader", loader)
        assert (result.status, result.out.strip()) == (0, digest), (loader, result.err)


def test_the_document_has_the_features_of_the_guests_own_context(tmp_path: Path) -> None:
    """The first VMSA of the file is of another platform, and has none."""
    path = _file(tmp_path, "snp-and-sev-es")
    (value,) = json.loads(run("measure", path, "--loader", "igvmmeasure", "-f", "json").out)["values"]
    assert (value["mode"], value["guest_features"], value["vcpus"]) == ("snp", "0x1", 1)
    assert value["vmsa_gpa"] == "0x803000"


def test_inspect_tells_whose_a_context_is(tmp_path: Path) -> None:
    path = _file(tmp_path, "native-contexts-last")
    document = json.loads(run("inspect", path, "-f", "json").out)
    digests = {entry["loader"]: entry["digest"] for entry in document["loaders"]}
    assert digests["igvmmeasure"] == digests["igvm-reference"]
    native = [entry["registers"] for entry in document["vp_contexts"]][2:]
    assert [entry and entry["rip"] for entry in native] == ["0x8000", "0x9000", "0x9000"]
    assert "platforms" not in {breach["rule"] for breach in document["breaches"]}
    assert "native" in run("inspect", path).out.split("VP contexts")[1]


def test_the_mode_chooses_the_platform(tmp_path: Path) -> None:
    path = _file(tmp_path, "snp-and-sev-es")
    digests = DIGESTS["snp-and-sev-es"]
    manifest = write_manifest(
        tmp_path, launch={"mode": "sev-es", "profile": "igvmmeasure"}, igvm={"path": path.name}
    )
    declared = run("measure", manifest, "--set", "vcpu.count=2")
    assert (declared.status, declared.out.strip()) == (0, digests["sev-es"]["igvmmeasure"]), declared.err
    both = run("measure", path, "--loader", "igvmmeasure")
    assert both.out.strip() == digests["snp"]["igvmmeasure"]
    assert "platforms for snp, sev-es" in both.err
    for mode in ("snp", "sev-es"):
        asked = run("measure", path, "--loader", "igvmmeasure", "--mode", mode)
        assert (asked.status, asked.err) == (0, "")
        assert asked.out.strip() == digests[mode]["igvmmeasure"]
    (plan,) = [json.loads(run("plan", path, "--loader", "qemu", "--mode", "sev-es", "-f", "json").out)]
    assert (plan["mode"], plan["algorithm"]) == ("sev-es", "sha256")
    inspected = json.loads(run("inspect", path, "--mode", "sev-es", "-f", "json").out)
    assert inspected["modes"] == ["snp", "sev-es"]
    assert {entry["mode"] for entry in inspected["loaders"]} == {"sev-es", None}


def test_a_mode_that_the_file_has_no_platform_for(tmp_path: Path) -> None:
    path = _file(tmp_path, "sev-contexts")
    assert run("measure", path, "--loader", "igvmmeasure").status == 0
    for verb in ("measure", "plan", "inspect"):
        result = run(verb, path, "--mode", "snp")
        assert result.status == 2
        assert "--mode snp" in result.err
        assert "it has sev" in result.err
        assert "unknown mode" in run(verb, path, "--mode", "sev-spn").err
    assert "--mode is for IGVM files" in run("inspect", __file__, "--mode", "snp").err
