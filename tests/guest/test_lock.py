"""The lock: what it holds, what makes it stale, and inputs by URL from end to end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevbuild import fs
from sevbuild.errors import FaultsError
from sevbuild.guest import inputs
from sevbuild.guest.guest import load_guest
from sevbuild.guest.locking import resolve_lock
from sevbuild.guest.unheld import unheld_settings
from sevbuild.manifest.inputs import ROLES
from sevbuild.manifest.lock import Lock, LockedInput, decode_lock, encode_lock
from sevbuild.manifest.profile_digest import profile_digest
from sevbuild.manifest.profiles import load_profile, profile_names
from tests.support.cli import Result, run
from tests.support.firmware import standard_firmware, standard_svsm
from tests.support.guests import digest_of, write_manifest
from tests.support.https import Server
from tests.support.pe import make_uki
from tests.support.shared import ROOT

KERNEL = b"\x02kern\x02" * 99
PARTS = [(".linux", b"kernel" * 99), (".initrd", b"initrd" * 9999), (".cmdline", b"quiet")]
TABLES: dict[str, Any] = {
    "firmware": {"path": "OVMF.fd"},
    "kernel": {"path": "kernel", "cmdline": "n={vcpus} {word}"},
    "initrd": {"path": ["one", "two"]},
    "variables": {"word": "quiet"},
    "vcpu": {"count": [1, 2, 3, 5], "model": "EPYC-v4"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with every input."""
    image = standard_firmware()
    (tmp_path / "OVMF.fd").write_bytes(image)
    for name, data in (("kernel", KERNEL), ("one", b"\x01" * 5000), ("two", b"\x02" * 300_000)):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "image.efi").write_bytes(make_uki(PARTS))
    return tmp_path


def _locked(folder: Path, **tables: Any) -> Path:
    merged = {**TABLES, **tables}
    path = write_manifest(folder, **{name: table for name, table in merged.items() if table is not None})
    assert run("lock", path).status == 0
    return path


def _stale(path: Path, *flags: str) -> Result:
    result = run("measure", "-q", path, "--locked", *flags)
    assert result.status == 1
    assert result.out == ""
    assert f"hint: `sevbuild lock {path}" in result.err
    return result


@pytest.mark.parametrize("name", ["hello", "fleet"])
def test_the_locks_of_our_guests_are_current(name: str) -> None:
    manifest = ROOT / "guests" / name / "guest.toml"
    assert run("lock", "--check", manifest) == Result(0, "", "")
    assert run("lock", manifest, "-o", "-").out == (ROOT / "guests" / name / "guest.lock").read_text()


def test_what_a_lock_holds(folder: Path) -> None:
    path = _locked(folder)
    lock = decode_lock((folder / "guest.lock").read_text(), "guest.lock")
    found = {entry.name: (entry.role, entry.size, entry.digest) for entry in lock.inputs}
    both = b"\x01" * 5000 + b"\x02" * 300_000
    assert found["one + two"] == ("initrd", len(both), sha256(both).digest())
    assert found["kernel"] == ("kernel", 594, sha256(KERNEL).digest())
    assert found["OVMF.fd"][:2] == ("firmware", 0x10000)
    assert lock.cpus == {"EPYC-v4": 0x800F12}
    assert lock.profiles == {"qemu": profile_digest(load_profile("qemu"))}
    assert lock.cmdlines == {f"snp/qemu/EPYC-v4/vcpus{n}": f"n={n} quiet".encode() for n in (1, 2, 3, 5)}
    text = (folder / "guest.lock").read_bytes()
    assert str(folder).encode() not in text
    assert b"\r" not in text
    # The same from anywhere, and again.
    assert run("lock", path).err == f"wrote {folder / 'guest.lock'}\n"
    assert (folder / "guest.lock").read_bytes() == text
    for verb in ("measure", "plan", "check"):
        for flag in ("--locked", "--frozen"):
            assert run(verb, path, flag).status == 0
    assert run("lock", "--check", path).status == 0


def test_one_line_does_not_name_every_target(folder: Path) -> None:
    _locked(folder, kernel={"path": "kernel", "cmdline": "{word}"})
    text = (folder / "guest.lock").read_text()
    assert '"snp/qemu/EPYC-v4/vcpus1-3",\n  "snp/qemu/EPYC-v4/vcpus5",\n' in text


def test_a_changed_input_is_named(folder: Path) -> None:
    path = _locked(folder)
    (folder / "kernel").write_bytes(b"other")
    result = _stale(path)
    assert (
        f"guest.lock is stale: kernel kernel is 5 bytes, sha256 {sha256(b'other').hexdigest()}" in result.err
    )
    assert f"the lock has 594 bytes, sha256 {sha256(KERNEL).hexdigest()}\n" in result.err
    assert result.err.count("\n") == 2
    for verb in ("plan", "check"):
        assert run(verb, "-q", path, "--frozen").status == 1
    assert run("lock", "--check", path).status == 1
    assert run("measure", "-q", path).status == 0
    (folder / "two").write_bytes(b"")
    assert "2 changes:\n  kernel kernel is" in _stale(path).err


def test_changes_of_the_manifest_are_named(folder: Path) -> None:
    path = _locked(folder)
    message = "command line of snp/qemu/EPYC-v4/vcpus1 is 'n=1 loud'; the lock has 'n=1 quiet'"
    assert message in _stale(path, "--set", "variables.word=loud").err
    assert "--set variables.word=loud` updates it" in _stale(path, "--set", "variables.word=loud").err
    assert "vcpus4 is not in it" in _stale(path, "--set", "vcpu.count=4").err
    assert "vcpus5 and 3 more is no longer" not in _stale(path, "--set", "vcpu.count=4").err
    result = _stale(path, "--set", "vcpu.model=EPYC-Milan")
    assert "CPU EPYC-Milan is not in it" in result.err
    assert "CPU EPYC-v4 is no longer used" in result.err
    assert "profile ec2 is not in it" in _stale(path, "--set", "launch.profile=ec2").err
    write_manifest(folder, **{name: table for name, table in TABLES.items() if name != "initrd"})
    assert "initrd one + two is no longer an input" in _stale(path).err


def test_a_long_line_is_shown_where_it_differs(folder: Path) -> None:
    path = _locked(folder, kernel={"path": "kernel", "cmdline": "x" * 400 + "{word}" + "y" * 400})
    err = _stale(path, "--set", "variables.word=loud").err
    assert "and 3 more is ...'xxx" in err
    assert "xloudyyy" in err
    assert len(err) < 700


def test_one_target_is_held_to_its_part(folder: Path) -> None:
    path = _locked(folder)
    label = "snp/qemu/EPYC-v4/vcpus2"
    assert run("measure", "-q", path, "--locked", "--target", label).status == 0


def test_without_a_lock_nothing_can_be_held_to_it(folder: Path) -> None:
    path = write_manifest(folder, **TABLES)
    result = run("measure", "-q", path, "--locked")
    assert (result.status, result.out) == (1, "")
    assert (
        f"the lock {folder / 'guest.lock'} does not exist\n  hint: `sevbuild lock {path}` writes"
        in result.err
    )
    result = run("measure", "-q", path, "--frozen")
    assert (result.status, result.out) == (2, "")
    assert "--frozen requires" in result.err
    assert run("lock", "--check", path).status == 1
    assert run("measure", "-q", "-", "--locked", stdin=path.read_text()).status == 2
    assert run("lock", path, "-o", folder / "other.lock").status == 0
    assert run("measure", "-q", path, "--lock", folder / "other.lock").status == 0
    assert not (folder / "guest.lock").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "schema = 1",
            "schema = 2",
            "guest.lock:2: schema: unsupported schema version 2; this release reads version 1",
        ),
        ("schema = 1", "schema = true", "unsupported schema version True"),
        ("size = 594", "sise = 594", "input[3].sise: unknown key"),
        ("size = 594", "size = -1", "input[3].size: must be"),
        ('role = "kernel"', 'role = "kernl"', "did you mean kernel?"),
        ("[cpus]", "[cpu]", "unknown key"),
        ("EPYC-v4 = 0x00800f12", 'EPYC-v4 = "x"', "cpus.EPYC-v4: must be an integer"),
        ('text = "n=1', 'hex = "n=1', "must be pairs of hexadecimal digits"),
        ('text = "n=1 quiet"', "", "give either text or hex"),
        ("vcpus1", "vcpus2-1", "is not a label of targets"),
        ("vcpus1", "vcpus2", "is listed twice"),
        ("vcpus1", "vcpus0-99999", "is not a label of targets"),
        ("schema = 1", "schema = ", "not valid TOML"),
        ("[[input]]", "[[inputs]]", "unknown key"),
    ],
)
def test_a_fault_in_a_lock_is_told(folder: Path, old: str, new: str, message: str) -> None:
    path = _locked(folder)
    lock = folder / "guest.lock"
    text = lock.read_text()
    assert old in text
    lock.write_text(text.replace(old, new))
    result = run("measure", "-q", path, "--locked")
    assert (result.status, result.out) == (2, "")
    assert message.replace("input[3]", "input[").split("[")[0] in result.err
    assert message.rpartition("].")[2] in result.err


def test_what_only_a_hand_can_write() -> None:
    head = 'schema = 1\nsevbuild = "1"\nprofiles = {}\ncpus = {}\n'
    assert decode_lock(head, "guest.lock") == Lock("1", (), {}, {}, {})
    for text, message in (
        ("input = 1", "must be a list"),
        ("input = [1]", r"input\[0\]: must be a table"),
        (
            f'[[input]]\nrole = "kernel"\nsha256 = "{"00" * 32}"\nseed = "{"00" * 48}"',
            "cannot be combined with",
        ),
        ('[[input]]\nrole = "kernel"', "missing: a size, a sha256 or a seed"),
        ('[[cmdline]]\ntext = ""', "missing: the labels"),
        (
            "".join(f'[[cmdline]]\ntext = ""\ntargets = ["{n}/vcpus1-4096"]\n' for n in range(50)),
            "there are more than 200000",
        ),
    ):
        with pytest.raises(FaultsError, match=message):
            decode_lock(f"{head}{text}\n", "guest.lock")


LABELS = st.builds(
    "snp/{}/{}/vcpus{}{}".format,
    st.sampled_from(["qemu", "./a b.toml", "x\ny"]),
    st.sampled_from(["EPYC", "0x00a00f11"]),
    st.integers(1, 4096),
    st.sampled_from(["", "/debug", "/vcpus3"]),
)
INPUTS = st.builds(
    LockedInput,
    st.sampled_from(list(ROLES)),
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(["", ".linux"]),
    st.integers(0, 1 << 40),
    st.sampled_from([None, bytes(32), bytes(48)]),
)


@given(
    st.lists(INPUTS, max_size=4, unique=True),
    st.dictionaries(st.text(st.characters(codec="utf-8")), st.binary(min_size=32, max_size=32), max_size=3),
    st.dictionaries(LABELS, st.binary(max_size=9), max_size=9),
)
def test_what_is_written_reads_back(
    entries: list[LockedInput], profiles: dict[str, bytes], cmdlines: dict[str, bytes]
) -> None:
    lock = Lock("0.1", tuple(entries), profiles, {"a b": 1}, cmdlines)
    text = encode_lock(lock)
    back = decode_lock(text, "guest.lock")
    assert set(back.inputs) == set(entries)
    assert back._replace(inputs=()) == lock._replace(inputs=())
    assert encode_lock(back) == text


@given(st.text(max_size=200))
def test_no_text_crashes_the_reader(text: str) -> None:
    with pytest.raises(FaultsError):
        decode_lock(f"{text}\nschema = 3", "guest.lock")


def test_images_and_unmeasured_kernels(folder: Path) -> None:
    path = _locked(folder, kernel={"uki": "image.efi", "uki-as": "parts"}, initrd=None, variables=None)
    text = (folder / "guest.lock").read_text()
    assert 'part = ".linux"' in text
    assert 'text = "quiet"' in text
    (folder / "image.efi").write_bytes(make_uki([PARTS[0], (".initrd", b"x"), PARTS[2]]))
    assert "initrd image.efi .initrd is 1 bytes" in _stale(path).err

    path = _locked(folder, kernel={"path": "kernel", "cmdline": "{word}", "hashes": False})
    assert run("measure", "-q", path, "--locked").status == 0
    (folder / "kernel").write_bytes(b"other")
    # What enters no digest is not read to measure; to check, it is.
    assert run("measure", "-q", path, "--locked").status == 0
    assert "kernel kernel is 5 bytes" in run("check", "-q", path, "--locked").err
    path = _locked(folder, kernel={"sha256": "ab" * 32, "cmdline": "{word}", "hashes": False}, initrd=None)
    assert run("check", "-q", path, "--locked").status == 0
    path = _locked(
        folder, kernel={"uki": "image.efi", "uki-as": "parts", "hashes": False}, variables=None, initrd=None
    )
    assert 'role = "uki"' in (folder / "guest.lock").read_text()


def test_ingredients_and_command_line_files(folder: Path) -> None:
    (folder / "line").write_bytes(b"a \xff {word}")
    path = _locked(folder, kernel={"sha256": "ab" * 32, "cmdline-file": "line"}, initrd={"sha256": "cd" * 32})
    text = (folder / "guest.lock").read_text()
    line = b"a \xff quiet".hex()
    assert f'hex = "{line}"' in text
    assert 'role = "cmdline"\nname = "line"\nsize = 10' in text
    assert run("measure", "-q", path, "--locked").status == 0
    (folder / "line").write_bytes(b"b \xff {word}")
    assert "cmdline line is 10 bytes" in _stale(path).err


def test_an_svsm_with_its_variable_store_and_a_seed(folder: Path) -> None:
    (folder / "vars.fd").write_bytes(bytes(0x84000))
    image = standard_svsm()
    (folder / "svsm.bin").write_bytes(image)
    tables: dict[str, Any] = {
        "launch": {"profile": "svsm-qemu"},
        "firmware": {"path": "OVMF.fd"},
        "svsm": {"path": "svsm.bin", "vars-path": "vars.fd"},
    }
    path = write_manifest(folder, **tables)
    assert run("lock", path).status == 0
    text = (folder / "guest.lock").read_text()
    assert 'role = "svsm-vars"\nname = "vars.fd"\nsize = 540672\n\n' in text
    (folder / "vars.fd").write_bytes(b"\x01" * 0x84000)
    assert run("measure", "-q", path, "--locked").status == 0
    (folder / "vars.fd").write_bytes(bytes(0x85000))
    assert "svsm-vars vars.fd is 544768 bytes; the lock has 540672 bytes" in _stale(path).err
    metadata = {"sections": [{"gpa": 0x800000, "size": 4096, "kind": 1}], "reset": 0x80B004}
    path = write_manifest(folder, firmware={"seed": "ab" * 48, "metadata": metadata})
    assert run("lock", path).status == 0
    assert f'role = "firmware"\nseed = "{"ab" * 48}"' in (folder / "guest.lock").read_text()
    assert f"the lock has seed {'ab' * 48}" in _stale(path, "--set", f"firmware.seed={'cd' * 48}").err


def test_nothing_is_hashed_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _locked(folder)
    read: list[str] = []
    hashed: list[int] = []

    def noted(paths: list[str], *rest: Any, **more: Any) -> Any:
        read.extend(paths)
        return fs.hash_files(paths, *rest, **more)

    def counted(data: bytes) -> Any:
        hashed.append(len(data))
        return sha256(data)

    monkeypatch.setattr(inputs, "hash_files", noted)
    monkeypatch.setattr(inputs, "sha256", counted)
    guest = load_guest(str(path))
    guest.measure()
    resolve_lock(guest, guest.targets)
    resolve_lock(guest, guest.targets)
    assert sorted(Path(name).name for name in read) == ["kernel", "one", "two"]
    # Of the firmware a run hashes the pages; its SHA-256 is taken once.
    assert hashed == [0x10000]


def test_a_profiles_digest_is_over_what_it_does(tmp_path: Path) -> None:
    digests = {name: profile_digest(load_profile(name)) for name in profile_names()}
    assert len(set(digests.values())) == len(digests)
    head = 'schema = 1\nname = "mine"\nextends = "qemu"\nsummary = "x"\nas-of = "2026-01-01"\n'

    def digest(text: str) -> bytes:
        (tmp_path / "mine.toml").write_text(head + text)
        return profile_digest(load_profile("mine.toml", str(tmp_path)))

    assert digest("") == digests["qemu"]
    assert digest("[initial-state]\nr15 = 0\n") == digests["qemu"]
    assert digest("[initial-state]\nr15 = 1\n") != digests["qemu"]
    assert digest("[guest-features.snp]\ndefault = 33\nknown = 33\n") != digests["qemu"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Run a server that is trusted, with an empty cache."""
    (tmp_path / "tls").mkdir()
    found = Server(tmp_path / "tls")
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(found.authority))
    monkeypatch.setenv("SEVBUILD_CACHE", str(tmp_path / "cache"))
    yield found
    found.close()


def _by_url(folder: Path, server: Server) -> dict[str, Any]:
    for name in ("OVMF.fd", "kernel", "one", "two", "image.efi"):
        server.files[f"/{name}"] = (folder / name).read_bytes()

    def entry(name: str) -> dict[str, Any]:
        digest = sha256(server.files[f"/{name}"]).hexdigest()
        return {"url": f"{server.url}/{name}", "sha256": digest}

    one, two = entry("one"), entry("two")
    return {
        "firmware": entry("OVMF.fd"),
        "kernel": {**entry("kernel"), "cmdline": "quiet"},
        "initrd": {"url": [one["url"], two["url"]], "sha256": [one["sha256"], two["sha256"]]},
        "image": entry("image.efi"),
    }


def test_inputs_by_url_are_measured_as_files_are(folder: Path, server: Server) -> None:
    tables = _by_url(folder, server)
    image = {**tables.pop("image"), "uki-as": "parts"}
    files: dict[str, Any] = {
        "firmware": {"path": "OVMF.fd"},
        "kernel": {"path": "kernel", "cmdline": "quiet"},
        "initrd": {"path": ["one", "two"]},
    }
    expected = digest_of(folder, **files)
    path = write_manifest(folder, **tables)
    result = run("measure", "-q", path)
    assert (result.status, result.out, result.err) == (0, f"{expected}\n", "")
    assert sorted(name for name, _ in server.requests) == ["/OVMF.fd", "/kernel", "/one", "/two"]
    assert run("measure", "-q", path, "--offline").out == f"{expected}\n"
    assert run("lock", path, "--offline").status == 0
    assert f'name = "{server.url}/OVMF.fd"' in (folder / "guest.lock").read_text()
    assert run("check", "-q", path, "--frozen", "--offline").status == 0
    assert '"name": "OVMF.fd"' in run("measure", "-q", path, "-f", "json").out
    assert len(server.requests) == 4
    parts = digest_of(folder, firmware=files["firmware"], kernel={"uki": "image.efi", "uki-as": "parts"})
    path = write_manifest(folder, firmware=tables["firmware"], kernel=image)
    assert run("measure", "-q", path).out == f"{parts}\n"
    result = run("measure", "-q", path, "--offline", "--set", f"kernel.sha256={'00' * 32}")
    assert result.status == 2
    assert "--offline forbids fetching it" in result.err


def test_a_wrong_digest_and_a_damaged_cache(folder: Path, server: Server) -> None:
    tables = _by_url(folder, server)
    del tables["image"]
    path = write_manifest(folder, **tables)
    result = run("measure", "-q", path, "--set", f"kernel.sha256={'00' * 32}")
    assert (result.status, result.out) == (1, "")
    assert f"{server.url}/kernel: sha256 is {sha256(KERNEL).hexdigest()}, the manifest pins" in result.err
    assert run("measure", "-q", path).status == 0
    cache = folder / "cache" / "sha256"
    for entry in list(cache.iterdir()):
        data = entry.read_bytes()
        entry.write_bytes(b"damaged" * 99)
        result = run("measure", "-q", path, "--offline")
        assert (result.status, result.out) == (1, "")
        assert "its copy in the cache was damaged" in result.err
        assert not entry.exists()
        entry.write_bytes(data)
    shutil.rmtree(cache)
    assert run("measure", "-q", path).status == 0


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"firmware": {"url": "http://h/f", "sha256": "ab" * 32}}, "must be a URL like https://HOST/FILE"),
        ({"firmware": {"url": "https://me:pw@h/f", "sha256": "ab" * 32}}, "must be a URL like"),
        ({"firmware": {"url": "https://h:99999/f", "sha256": "ab" * 32}}, "must be a URL like"),
        ({"firmware": {"url": "https://h/f"}}, "firmware.sha256: missing: what is fetched must be pinned"),
        (
            {"firmware": {"path": "f", "url": "https://h/f", "sha256": "ab" * 32}},
            "url: cannot be combined with path",
        ),
        ({"firmware": {"path": "https://h/f"}}, "firmware.path: is a URL, not the path of a file"),
        ({"kernel": {"uki": "https://h/f", "uki-as": "kernel"}}, "kernel.uki: is a URL"),
        ({"initrd": {"path": ["a", "http://h/f"]}}, "initrd.path[1]: is a URL"),
        ({"initrd": {"url": "https://h/f"}}, "initrd.sha256: missing"),
        ({"initrd": {"url": 5, "sha256": "ab" * 32}}, "initrd.url: must be a string"),
        (
            {"initrd": {"url": "https://h/f", "path": "x", "sha256": "ab" * 32}},
            "cannot be combined with path",
        ),
        ({"initrd": {"url": ["https://h/f"], "sha256": "ab" * 32}}, "must be a list where url is one"),
        (
            {"initrd": {"url": ["https://h/f"], "sha256": ["ab" * 32] * 2}},
            "must have an entry for each url: 1",
        ),
        ({"initrd": {"path": ["a"], "sha256": ["ab" * 32]}}, "of several paths, the whole is pinned"),
        (
            {
                "firmware": {"url": "https://h/f", "sha256": "ab" * 32},
                "kernel": {"url": "https://h/f", "sha256": "cd" * 32},
                "initrd": {"sha256": "ab" * 32},
            },
            "https://h/f is pinned to a different sha256",
        ),
    ],
)
def test_a_fault_in_a_url_is_told(tmp_path: Path, tables: dict[str, Any], message: str) -> None:
    base: dict[str, Any] = {"firmware": {"path": "OVMF.fd"}, "kernel": {"path": "kernel"}}
    result = run("measure", "-q", write_manifest(tmp_path, **{**base, **tables}))
    assert result.status == 2
    assert message in result.err


def test_a_bundle_is_held_to_its_lock(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware(size=0x4000))
    path = write_manifest(tmp_path, firmware={"path": "OVMF.fd"})
    assert run("lock", path).status == 0
    first = run("build", "-q", path, "-o", tmp_path / "dist", "--locked")
    assert first.status == 0, first.err
    before = (tmp_path / "dist" / "bundle.json").read_bytes()
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware(size=0x8000))
    stale = run("build", "-q", path, "-o", tmp_path / "dist", "--locked")
    assert (stale.status, stale.out) == (1, "")
    assert "guest.lock is stale" in stale.err
    assert (tmp_path / "dist" / "bundle.json").read_bytes() == before


def test_a_ready_igvm_file_is_locked(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware(size=0x4000))
    tables: dict[str, Any] = {"launch": {"profile": "qemu-igvm"}}
    built = write_manifest(tmp_path, firmware={"path": "OVMF.fd"}, **tables)
    assert run("build", "-q", built, "-o", tmp_path / "dist").status == 0
    (file,) = (tmp_path / "dist").rglob("guest.igvm")
    (tmp_path / "ready.igvm").write_bytes(file.read_bytes())
    path = write_manifest(tmp_path, igvm={"path": "ready.igvm"}, **tables)
    assert run("lock", path).status == 0
    assert 'role = "igvm"' in (tmp_path / "guest.lock").read_text()
    assert run("measure", "-q", path, "--locked").status == 0
    (tmp_path / "guest.lock").write_text((tmp_path / "guest.lock").read_text().replace("size = ", "size = 1"))
    assert run("measure", "-q", path, "--locked").status == 1


@pytest.mark.parametrize("inputs", [[], ["--no-copy"], ["--link"]])
def test_inputs_by_url_are_bundled_and_published(folder: Path, server: Server, inputs: list[str]) -> None:
    tables = _by_url(folder, server)
    del tables["image"]
    path = write_manifest(folder, **tables)
    measured = run("measure", "-q", path).out
    built = run("build", "-q", path, "-o", folder / "dist", *inputs)
    assert (built.status, built.out) == (0, measured), built.err
    # The bundle's own manifest names files of the bundle: nothing is fetched to verify it.
    server.close()
    server.files.clear()
    assert "https" not in (folder / "dist" / "guest.toml").read_text()
    checked = run("verify", folder / "dist")
    assert checked.status == 0, checked.err
    published = run("publish", "-q", path, "-o", folder / "release")
    assert published.status == 0, published.err
    assert server.url not in (folder / "release" / "reference-values.json").read_text()


def test_what_settings_a_lock_holds() -> None:
    held = [
        "firmware.path=x",
        "matrix[3].firmware.url=x",
        "kernel.cmdlines.debug=x",
        "initrd.path[0]=x",
        "variables.x=1",
        "vcpu.signature=1",
        "launch.profile=ec2",
    ]
    assert unheld_settings(held, "guest.lock", labels=False) == []
    unheld = ["vcpu.count=1", "launch.mode=snp", "matrix[0].launch.policy=1", "kernel={}", "launch.policy=1"]
    found = unheld_settings([*unheld, "launch.policy=2"], "guest.lock", labels=False)
    assert [notice.where for notice in found] == [f"--set {setting.partition('=')[0]}" for setting in unheld]
    assert len(unheld_settings(unheld, "guest.lock", labels=True)) == 3


def test_a_count_that_labels_hold_is_no_gap(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware(size=0x4000))
    (tmp_path / "kernel").write_bytes(b"kernel")
    kernel = {"path": "kernel", "hashes": False}
    manifest = write_manifest(tmp_path, firmware={"path": "OVMF.fd"}, kernel=kernel)
    assert run("lock", manifest, "--set", "vcpu.count=2").status == 0
    result = run("measure", "--locked", manifest, "--set", "vcpu.count=2")
    assert (result.status, "--set" in result.err) == (0, False)
    assert run("measure", "--locked", manifest, "--set", "vcpu.count=3").status == 1
