"""The verbs of `sevbuild session`, as a guest owner runs them beside a model of the platform."""

from __future__ import annotations

import json
import os
import stat
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sevbuild.identity.launch_secret import decode_table
from sevbuild.identity.sev_platform import OwnedGuest
from sevbuild.image.kernel_hashes import KernelHashes, cmdline_digest, hash_table
from sevbuild.launch.page_type import PageType
from sevbuild.launch.sev_guest import SevPlatform
from sevbuild.launch.update import LaunchUpdate
from tests.support.cli import Result, run
from tests.support.sev_owner import NONCE, blob_of, libvirt_lines, publish_guest
from tests.support.sev_platform import NAMES, own_platform
from tests.support.shared import shared_file

OWN = own_platform()
TIK, TEK = bytes(range(1, 17)), bytes(range(17, 33))
FIRMWARE = ("--api-major", 1, "--api-minor", "0x37", "--build-id", 24)
DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Return the folder of a guest with its release, and the values in it."""
    folder = tmp_path_factory.mktemp("guest")
    return folder / "release", publish_guest(folder, modes=("sev", "sev-es"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with keys, certificates of our platform and secrets."""
    monkeypatch.chdir(tmp_path)
    Path("tik.bin").write_bytes(TIK)
    Path("tek.bin").write_bytes(TEK)
    Path("tk.bin").write_bytes(TEK + TIK)
    Path("zero.bin").write_bytes(bytes(16))
    Path("key.txt").write_bytes(b"open sesame")
    Path("chain").write_bytes(b"".join(OWN.files[name] for name in NAMES))
    return tmp_path


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the root key of our platform."""
    monkeypatch.setattr("sevbuild.identity.sev_chain.amd_roots", lambda: (OWN.root,))


def told(result: Result, status: int, *words: str) -> None:
    """Hold a result to its exit code, and to what standard error says."""
    assert result.status == status, result
    for word in words:
        assert word in result.err


def create(*words: object) -> Result:
    return run("session", "create", *words)


def verify(*words: object) -> Result:
    return run("session", "verify", *words)


def test_from_a_session_to_a_secret(trusted: None, published: tuple[Path, list[dict[str, Any]]]) -> None:
    del trusted
    # A launch of the bytes behind a published digest, which the model of the platform measures.
    data = LaunchUpdate(0, PageType.NORMAL, 64, b"firmware" * 8, "firmware")
    made = create("chain", "--policy", "0x3", "-o", "session", "--name", "guest")
    told(made, 0, "wrote session/\n")
    assert "ours" in made.out
    files = sorted(os.listdir("session"))
    assert files == [f"guest_{name}" for name in ("godh.b64", "session.b64", "tek.bin", "tik.bin", "tk.bin")]
    modes = {name: stat.S_IMODE(os.stat(f"session/{name}").st_mode) for name in files}
    assert {name for name, mode in modes.items() if mode == 0o600} == {
        name for name in files if name.endswith("bin")
    }
    godh, session = (b64decode(Path(f"session/guest_{name}.b64").read_text()) for name in ("godh", "session"))
    guest = OwnedGuest(OWN.pdh, SevPlatform(build_id=24))
    guest.launch_start(0x3, godh, session)
    guest.launch_update(data)
    blob = guest.launch_measure(NONCE)
    Path("host.txt").write_text(libvirt_lines(blob, 0x3))
    digest = sha256(b"firmware" * 8).hexdigest()
    against = ("--against", digest, "--policy", 3, "--session", "session")
    assert verify("host.txt", *against).out == "pass: the launch digest given, policy 0x3\n"
    told(
        verify("host.txt", "--against", published[0], "--session", "session"),
        1,
        "not that of any of 4 targets",
    )
    secret = run(
        "session", "secret", "host.txt", *against, "--secret", "luks-key:key.txt", "--header", "h", "--payload", "p"
    )  # fmt: skip
    told(secret, 0, "wrote h\n", "wrote p\n")
    header, payload = (b64decode(Path(name).read_text()) for name in "hp")
    plain = guest.launch_secret(header, payload, address=0x80D000, length=len(payload))
    assert [one.data for one in decode_table(plain, "table")] == [b"open sesame"]


@pytest.mark.parametrize("product", ["naples", "rome"])
def test_a_session_with_a_real_platform(product: str) -> None:
    made = create(shared_file(f"sev-certs/{product}/pdh.cert").parent, "--policy", 7, "-o", "s", "-f", "json")
    told(made, 0)
    of = json.loads(made.out)
    assert (of["product"], of["policy"], len(of["sha256"])) == (product.capitalize(), "0x7", 6)
    assert of["files"] == [
        f"vm_{name}" for name in ("godh.b64", "session.b64", "tek.bin", "tik.bin", "tk.bin")
    ]
    again = create(shared_file(f"sev-certs/{product}/pdh.cert").parent, "--policy", 7, "-o", "s")
    told(again, 2, "s already exists")


def test_certificates_as_hosts_give_them(trusted: None) -> None:
    del trusted
    files = OWN.files
    capabilities = {
        "pdh": b64encode(files["pdh"]).decode(),
        "cert-chain": b64encode(files["pek"] + files["oca"] + files["cek"]).decode(),
        "cbitpos": 51,
    }
    Path("q.json").write_text(json.dumps({"return": capabilities}))
    Path("b64").write_text(b64encode(Path("chain").read_bytes()).decode())
    Path("folder").mkdir()
    for name in NAMES:
        Path("folder", f"{name}.cert").write_bytes(files[name])
    Path("ask_ark").write_bytes(files["ask"] + files["ark"])
    for number, given in enumerate((["q.json"], ["q.json", "ask_ark"], ["b64"], ["folder"])):
        told(create(*given, "--policy", 1, "-o", f"s{number}"), 0)


@pytest.mark.parametrize(
    ("words", "status", "messages"),
    [
        (
            ("chain", "--policy", 7),
            1,
            ("the chain does not lead from this PDH to AMD:\n  the ARK is none of AMD's",),
        ),
        (("q.json", "--policy", 7), 2, ("q.json: no pdh in base64",)),
        (("list.json", "--policy", 7), 2, ("list.json: no pdh in base64",)),
        (("empty/", "--policy", 7), 2, ("empty/: a folder without a certificate (*.cert)",)),
        (("nope", "--policy", 7), 2, ("cannot read nope",)),
        (("chain", "--policy", "1f"), 2, ("--policy 1f: not a number\n  hint: 0x1f, if it is hexadecimal",)),
        (("chain", "--policy", "five"), 2, ("--policy five: not a number\n",)),
        (("chain", "--policy", "-1"), 2, ("--policy -1: not between 0 and 0xffffffff",)),
        (("chain", "--policy", "0x100000000"), 2, ("not between 0 and",)),
    ],
)
def test_no_session_is_made(words: tuple[object, ...], status: int, messages: tuple[str, ...]) -> None:
    Path("q.json").write_text('{"return": {"pdh": 5}}')
    Path("list.json").write_text("{}")
    Path("empty").mkdir()
    told(create(*words, "-o", "s"), status, *messages)
    assert not Path("s").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--policy", "0x30000"), "policy 0x30000 is SNP's default policy"),
        (("--policy", "0x41"), "policy 0x41 sets bits 15:6"),
        (("--policy", "7", "--name", "../x"), "'../x' is no name for files"),
        (("--policy", "7", "-f", "yaml"), "--format yaml: unknown value"),
    ],
)
def test_no_session_is_made_for_such_a_guest(trusted: None, words: tuple[str, ...], message: str) -> None:
    del trusted
    told(create("chain", *words, "-o", "s"), 2, message)
    assert not Path("s").exists()


def test_what_should_be_known_of_a_policy_is_said(trusted: None) -> None:
    del trusted
    told(create("chain", "--policy", "0x4", "-o", "a"), 0, "warning: the host may debug this guest")
    told(
        create("chain", "--policy", "0x38010005", "-o", "b"),
        0, "the policy requires API 1.56, and the PDH was made by API 1.55: this host may refuse the launch",
    )  # fmt: skip


def _host(value: dict[str, Any], **changes: Any) -> str:
    Path("host").write_text(libvirt_lines(blob_of(value, TIK, **changes)))
    return "host"


def test_a_target_is_named(published: tuple[Path, list[dict[str, Any]]]) -> None:
    release, values = published
    for value in values:
        Path("host").write_text(libvirt_lines(blob_of(value, TIK), int(value["policy"], 16)))
        result = verify("host", "--against", release, "--tik", "tik.bin")
        named = [one["label"] for one in values if one["digest"] == value["digest"]]
        assert len(named) == (2 if value["mode"] == "sev" else 1)
        assert result.out == "".join(
            f"pass: owner 1.0.0, {label}, policy {value['policy']}\n" for label in named
        )
        assert result.err == ""
    found = verify("host", "--against", release, "--tk", "tk.bin", "--target", "vcpus2", "-f", "json")
    of = json.loads(found.out)
    assert of["status"] == "pass"
    assert (of["digest"], of["policy"]) == (values[-1]["digest"], "0x7")
    assert of["targets"] == [f"owner 1.0.0, {values[-1]['label']}"]
    assert b64decode(of["measurement"])[32:] == NONCE


def test_sources_of_what_was_published(published: tuple[Path, list[dict[str, Any]]]) -> None:
    release, values = published
    digest = bytes.fromhex(values[-1]["digest"])
    host = _host(values[-1])
    Path("list").write_text("".join(f"{value['digest']}  {value['label']}\n" for value in values))
    document = release / "reference-values.json"
    for source in (digest.hex(), b64encode(digest).decode(), "list"):
        told(verify(host, "--against", source, "--tik", "tik.bin", "--policy", 7), 0)
        told(verify(host, "--against", source, "--tik", "tik.bin"), 2, "has no policy: --policy")
    for place in (document, release):
        told(verify(host, "--against", place, "--tik", "tik.bin", "--release", "1.0.0"), 0)
    told(verify(host, "--against", release, "--tik", "tik.bin", "--release", "2"), 2, "has no release '2'")
    told(
        verify(host, "--against", digest.hex(), "--target", "x", "--tik", "tik.bin"),
        2,
        "choose from a document",
    )
    told(verify(host, "--against", "ab" * 48, "--tik", "tik.bin"), 2, "96 digits are an SNP launch digest")
    told(verify(host, "--against", "nope", "--tik", "tik.bin"), 2, "cannot read nope")
    Path("snp").write_text(f"{'ab' * 48}  snp/a\n")
    told(
        verify(host, "--against", "snp", "--tik", "tik.bin"),
        2,
        "no target in mode sev or sev-es",
        "attestation report",
    )


def test_a_bundle_is_what_was_published(published: tuple[Path, list[dict[str, Any]]]) -> None:
    release, values = published
    assert run("build", "-q", release.parent / "guest.toml", "-o", "dist").status == 0
    result = verify(_host(values[-1]), "--against", "dist", "--tik", "tik.bin")
    assert result.out == f"pass: owner 1.0.0, {values[-1]['label']}, policy 0x7\n"


def test_a_list_names_its_labels(published: tuple[Path, list[dict[str, Any]]]) -> None:
    values = published[1]
    Path("list").write_text("".join(f"{value['digest']}  {value['label']}\n" for value in values))
    host = _host(values[-1])
    result = verify(host, "--against", "list", "--tik", "tik.bin", "--policy", 7)
    assert result.out == f"pass: {values[-1]['label']}, policy 0x7\n"


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--policy", 5), "found: the guest's policy is 0x7, not 0x5"),
        (
            ("--tik", "tek.bin", "--tek", "tik.bin"),
            "found: the key given as TIK is the TEK: the two are swapped",
        ),
        (("--target", "vcpus1"), "no one mistake explains it"),
    ],
)
def test_a_mismatch_says_which_input_looks_wrong(
    published: tuple[Path, list[dict[str, Any]]], words: tuple[object, ...], found: str
) -> None:
    release, values = published
    host = _host(values[-1])
    keys = () if "--tik" in words else ("--tik", "tik.bin")
    told(verify(host, "--against", release, *keys, *words), 1, "error: the measurement is not that of", found)
    answer = verify(host, "--against", release, *keys, *words, "-f", "json")
    assert answer.status == 1
    assert json.loads(answer.out)["status"] == "fail"
    assert answer.err.startswith("error: ")


def test_numbers_of_the_host_are_held_to_what_it_reports(
    published: tuple[Path, list[dict[str, Any]]],
) -> None:
    release, values = published
    blob = blob_of(values[-1], TIK)
    Path("blob").write_bytes(blob)
    rest = ("--against", release, "--tik", "tik.bin")
    told(verify("blob", *rest), 2, "the host's firmware is not known: --api-major, --api-minor, --build-id")
    told(verify("blob", *rest, *FIRMWARE), 0)
    told(
        verify("blob", *rest, *FIRMWARE[:-1], "0x24"),
        1,
        "the build is 24, not 36: its decimal digits were taken",
    )
    told(verify("blob", *rest, *FIRMWARE[:-1], 256), 2, "--build-id 256: not between 0 and 0xff")
    told(
        verify(_host(values[-1]), *rest, "--build-id", 25),
        2,
        "the options: another build-id than in what the host reports",
    )
    Path("hex").write_text(blob[:32].hex())
    told(verify("hex", *rest, *FIRMWARE), 2, "a measurement without its nonce: --nonce")
    told(verify("hex", *rest, *FIRMWARE, "--nonce", b64encode(NONCE).decode()), 0)
    told(
        verify("hex", *rest, *FIRMWARE, "--nonce", b64encode(NONCE).hex()),
        2,
        "--nonce: not a nonce",
        "digits of base64",
    )
    Path("query").write_text('{"return": {"api-major": 1, "api-minor": 55, "build-id": 24, "policy": 5}}')
    told(verify("query", *rest), 2, "no measurement among what the host reports")
    told(verify("query", "blob", *rest), 0)
    told(
        verify("query", "blob", *rest, "--policy", 3),
        1,
        "found: the guest's policy is 0x7",
        "the host reports policy 0x5",
    )


def test_standard_input_is_a_report(published: tuple[Path, list[dict[str, Any]]]) -> None:
    release, values = published
    text = Path(_host(values[-1])).read_text()
    result = run("session", "verify", "-", "--against", release, "--tik", "tik.bin", stdin=text)
    assert result.out.startswith("pass: ")
    told(
        run("session", "verify", "-", "--against", release, "--tik", "tik.bin", stdin="x"),
        2,
        "stdin: not what a host",
    )


def test_a_tik_of_zeros_never_passes(published: tuple[Path, list[dict[str, Any]]]) -> None:
    release, values = published
    Path("host").write_text(libvirt_lines(blob_of(values[-1], bytes(16))))
    told(verify("host", "--against", release, "--tik", "zero.bin"), 1, "a TIK of zeros proves nothing")
    told(
        verify("host", "--against", release, "--tik", "tik.bin"), 1, "found: it was made under a TIK of zeros"
    )
    shown = run(
        "session", "measurement", release, "--host", "host", "--tik", "zero.bin", "--target", "sev-es/*vcpus2"
    )
    told(shown, 0, "warning: a TIK of zeros proves nothing")
    Path("zeros").write_bytes(TEK + bytes(16))
    for keys in (("--tk", "zeros"), ("--tik", "tik.bin", "--tek", "zero.bin")):
        secret = run(
            "session", "secret", "host", "--against", release, *keys, "--secret", "luks-key:key.txt",
            "--header", "h", "--payload", "p",
        )  # fmt: skip
        told(secret, 2, "keys of zeros keep no secret")
    assert not Path("h").exists()


def test_measurements_are_printed(published: tuple[Path, list[dict[str, Any]]]) -> None:
    release, values = published
    one = (
        "session",
        "measurement",
        values[-1]["digest"],
        "--policy",
        7,
        "--tik",
        "tik.bin",
        "--nonce",
        NONCE.hex(),
        *FIRMWARE,
    )
    blob = blob_of(values[-1], TIK)
    assert run(*one).out == b64encode(blob).decode() + "\n"
    assert run(*one, "-f", "hex").out == blob.hex() + "\n"
    every = ("session", "measurement", release, "--tik", "tik.bin", "--nonce", NONCE.hex(), *FIRMWARE)
    lines = run(*every).out.splitlines()
    assert lines == [
        f"{b64encode(blob_of(value, TIK)).decode()}  owner 1.0.0, {value['label']}" for value in values
    ]
    found = json.loads(run(*every, "-f", "json").out)["values"]
    assert [entry["measurement"] for entry in found] == [line.split()[0] for line in lines]
    told(run(*one[:-8], *FIRMWARE), 2, "the nonce is not known: --nonce, or --host")
    assert run(*one[:-8], "--host", _host(values[-1])).out == run(*one).out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give the keys of one session"),
        (("--tik", "tik.bin", "--tk", "tk.bin"), "give the keys of one session"),
        (("--tek", "tek.bin"), "--tek without --tik"),
        (
            ("--tik", "tk.bin"),
            "tk.bin: 32 bytes, where a key has 16\n  hint: a file of 32 bytes with both keys is given with --tk",
        ),
        (("--tik", "key.txt"), "key.txt: 11 bytes, where a key has 16"),
        (("--tk", "tik.bin"), "tik.bin: 16 bytes, where TEK and TIK have 32"),
        (("--tk", "digits"), "digits: the hexadecimal digits of one key, where two keys are"),
        (("--session", "nope"), "cannot read nope"),
        (
            ("--session", "two"),
            "two: 2 files named *tik.bin\n  hint: a_tik.bin, b_tik.bin: give one with --tik",
        ),
        (("--session", "none"), "none: 0 files named *tik.bin\n  hint: `session create` writes one"),
    ],
)
def test_keys_that_are_none(words: tuple[str, ...], message: str) -> None:
    Path("two").mkdir()
    Path("none").mkdir()
    Path("digits").write_text(TIK.hex())
    for name in ("a_tik.bin", "b_tik.bin", "a_tek.bin"):
        Path("two", name).write_bytes(TIK)
    Path("blob").write_bytes(bytes(48))
    told(
        verify("blob", "--against", DIGEST, "--policy", 5, *FIRMWARE, *words),
        2,
        message,
    )


def test_keys_are_read_in_every_notation(published: tuple[Path, list[dict[str, Any]]]) -> None:
    release, values = published
    host = _host(values[-1])
    for number, text in enumerate((TIK.hex() + "\n", b64encode(TIK).decode())):
        Path(f"tik{number}").write_text(text)
        told(verify(host, "--against", release, "--tik", f"tik{number}"), 0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tk", "tk.bin"), "a secret is for a guest that was verified"),
        (("--tk", "tk.bin", "--against", DIGEST, "--unverified"), "a secret is for a guest that was verified"),
        (("--tk", "tk.bin", "--unverified", "--policy", "5"), "are for --against"),
        (("--tik", "tik.bin", "--unverified"), "a secret is encrypted with the TEK"),
        (("--tk", "tk.bin", "--unverified", "--secret", "key.txt"), "--secret key.txt: not of the form GUID:FILE"),
        (("--tk", "tk.bin", "--unverified", "--secret", "luks:key.txt"), "--secret luks: not a GUID"),
        (("--tk", "tk.bin", "--unverified", "--secret", "luks-key:nope"), "cannot read nope"),
        (("--tk", "tk.bin", "--unverified", "--secret", "luks-key:big"), "big: 16385 bytes; the limit is 16384 bytes"),
        (("--tk", "tk.bin", "--unverified", "--secret", "luks-key:key.txt"), "two secrets have the GUID"),
        (("--tk", "tk.bin", "--unverified", "--payload", "h"), "--header and --payload name one file"),
        (("--tk", "tk.bin", "--unverified", "--payload", "key.txt"), "key.txt"),
    ],
)  # fmt: skip
def test_no_secret_is_made(words: tuple[str, ...], message: str) -> None:
    Path("blob").write_bytes(bytes(48))
    Path("big").write_bytes(bytes(16385))
    common = ("session", "secret", "blob", "--secret", "luks-key:key.txt", "--header", "h")
    payload = () if "--payload" in words else ("--payload", "p")
    told(run(*common, *payload, *words), 2, message)
    assert not Path("h").exists()
    assert Path("key.txt").read_bytes() == b"open sesame"


def test_a_secret_for_another_guest_is_not_made(published: tuple[Path, list[dict[str, Any]]]) -> None:
    release, values = published
    host = _host(values[-1], digest=bytes(32))
    words = ("--tk", "tk.bin", "--secret", "luks-key:key.txt", "--header", "h", "--payload", "p")
    told(run("session", "secret", host, "--against", release, *words), 1, "the measurement is not that of")
    assert not Path("h").exists()
    told(run("session", "secret", host, "--unverified", *words, "--binary"), 0)
    assert (len(Path("h").read_bytes()), len(Path("p").read_bytes()) % 16) == (52, 0)
    Path("query").write_text('{"return": {"api-major": 1, "api-minor": 55, "build-id": 24}}')
    told(
        run("session", "secret", "query", "--unverified", *words),
        2,
        "no measurement among what the host reports",
    )


def test_the_random_numbers_are_the_systems(trusted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    del trusted
    numbers: Callable[[int], bytes] = lambda size: b"\7" * size  # noqa: E731
    monkeypatch.setattr("os.urandom", numbers)
    told(create("chain", "--policy", 5, "-o", "s"), 2, "a key that anybody could guess")
    assert not Path("s").exists()


FW = "launch-abi/sevctl/OVMF.amdsev.fd_trimmed_edk2-ovmf-20220126gitbb1bba3d77-4.el9"
NONCE_OF_SEVCTL = "wxP6tRHCFrFQWxsuqZA8QA=="
OLD = (
    "--api-major",
    "0x01",
    "--api-minor",
    40,
    "--build-id",
    40,
    "--policy",
    "0x03",
    "--nonce",
    NONCE_OF_SEVCTL,
)
SEV_ES = "/o0nzDKE5XgtVnUZWPhUea/WZYrTKLExR7KCwuMdbActvpWfXTFk21KMZIAAhQny"


def _digest_of_files(kernel: bool = False, vcpus: int = 0) -> str:
    data = shared_file(FW).read_bytes()
    if kernel:
        folder = "launch-abi/sevctl/measurement"
        files = [shared_file(f"{folder}/{name}-fake").read_bytes() for name in ("vmlinuz", "initrd")]
        cmdline = cmdline_digest(b"foo bar baz fake kernel=cmdline")
        data += hash_table(KernelHashes(sha256(files[0]).digest(), sha256(files[1]).digest(), cmdline))
    for vcpu in range(vcpus):
        data += shared_file(f"launch-abi/sevctl/vmsa{min(vcpu, 1)}.bin").read_bytes()
    return sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("digest", "words", "expected"),
    [
        (
            lambda: "xkvRAfyaSizgonxAjZIAkR8TmolUabBKQKb6KJCDDSM=",
            OLD,
            "lswbxWxI9gckya16JQvdFtpYmNO4b+3inAPpqsgoBI7DE/q1EcIWsVBbGy6pkDxA",
        ),
        (_digest_of_files, OLD, "oMDewIouJSpbpNRHj7Mk3p08H2dPZQdsZMU14qIymBnDE/q1EcIWsVBbGy6pkDxA"),
        (
            lambda: _digest_of_files(kernel=True),
            OLD,
            "h3auYbWQnVW7EGLWN4Hf9SN0oEYMPU2sK4bLnefWPwvDE/q1EcIWsVBbGy6pkDxA",
        ),
        (
            lambda: _digest_of_files(vcpus=4),
            ("--api-major", 1, "--api-minor", 49, "--build-id", 6, "--policy", "0x05", "--host", "host"),
            SEV_ES,
        ),
    ],
    ids=["digest", "firmware", "kernel", "sev-es"],
)
def test_measurements_are_those_of_sevctl(
    digest: Callable[[], str], words: tuple[object, ...], expected: str
) -> None:
    """Every measurement that tests/measurementbuild.rs of virtee/sevctl 8b47f3a expects."""
    tik = shared_file("launch-abi/sevctl/measurement/tik1.bin")
    Path("host").write_text(SEV_ES)
    result = run("session", "measurement", digest(), *words, "--tik", tik)
    assert result.out == f"{expected}\n", result


@pytest.mark.parametrize("name", ["tik.bin", "tek.bin", "tk.bin", "session.b64"])
def test_a_secret_does_not_replace_what_its_session_is(name: str) -> None:
    """A TIK that is written over is lost, and with it every later measurement and secret of the launch."""
    Path("blob").write_bytes(bytes(48))
    kept = {"vm_tik.bin": TIK, "vm_tek.bin": TEK, "vm_tk.bin": TEK + TIK, "vm_session.b64": b"A"}
    Path("own").mkdir()
    for file, data in kept.items():
        Path("own", file).write_bytes(data)
    words = ("session", "secret", "blob", "--secret", "luks-key:key.txt", "--unverified", "--session", "own")
    for pair in (
        ("--header", f"own/vm_{name}", "--payload", "p"),
        ("--header", "h", "--payload", f"own/vm_{name}"),
    ):
        told(
            run(*words, *pair),
            2,
            f"own/vm_{name} is an input of this command: it is not replaced",
            "--header and --payload name other files",
        )
    told(run(*words, "--header", "h", "--payload", "./h"), 2, "--header and --payload name one file")
    assert {file: Path("own", file).read_bytes() for file in kept} == kept
    assert not Path("h").exists()
