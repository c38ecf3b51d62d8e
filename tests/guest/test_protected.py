"""Files that no output replaces unasked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sevbuild.errors import SevbuildError
from sevbuild.guest import protected as module
from sevbuild.guest.protected import Protected
from tests.support.firmware import standard_firmware
from tests.support.guests import guest_of


def _refusal(protected: Protected, *paths: Path | str) -> str | None:
    """Return what the first of these paths is that is not replaced, None where all of them may be."""
    try:
        protected.refuse([str(path) for path in paths], hint="-o names another")
    except SevbuildError as error:
        return error.message.partition(" is ")[2].removesuffix(": it is not replaced")
    return None


def test_a_file_is_known_by_every_path_that_leads_to_it(tmp_path: Path) -> None:
    file, link, twin = tmp_path / "file", tmp_path / "link", tmp_path / "twin"
    file.write_bytes(b"\0")
    (tmp_path / "other").write_bytes(b"\0")
    link.symlink_to(file)
    twin.hardlink_to(file)
    protected = Protected()
    # One that is not there, or has no possible name, keeps nothing from being known.
    protected.add("an input", [str(tmp_path / "missing"), "a\0b", str(file)])
    protected.add("something else", [str(file)])
    with pytest.raises(SevbuildError, match="link is an input: it is not replaced") as caught:
        protected.refuse([str(link)], hint="-o names another")
    assert caught.value.hint == "-o names another"
    for path in (file, link, twin):
        assert _refusal(protected, path) == "an input"
        assert _refusal(protected, tmp_path / "missing", "a\0b", tmp_path / "other", path) == "an input"
    assert _refusal(protected, tmp_path / "other", tmp_path / "missing") is None


def test_only_regular_files_are_kept(tmp_path: Path) -> None:
    """Output may go to a device or a terminal that an input came from."""
    protected = Protected()
    protected.add("an input", [os.devnull, str(tmp_path)])
    assert _refusal(protected, os.devnull, tmp_path) is None


def test_a_guest_keeps_its_manifest_inputs_and_profiles(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    (tmp_path / "ours.toml").write_text(
        'schema = 1\nname = "ours"\nsummary = "ours"\nas-of = "2026"\nextends = "qemu"\n'
    )
    guest = guest_of(tmp_path, firmware={"path": "OVMF.fd"}, launch={"profile": "./ours.toml"})
    protected = Protected()
    protected.add_guest(str(tmp_path / "guest.toml"), guest)
    assert _refusal(protected, tmp_path / "guest.toml") == "the manifest"
    assert _refusal(protected, tmp_path / "OVMF.fd") == "an input of the guest, firmware.path"
    profile = _refusal(protected, tmp_path / "ours.toml")
    assert profile == "a profile of the guest, ./ours.toml or what it extends"


def test_a_guest_from_standard_input_keeps_no_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    guest = guest_of(tmp_path, firmware={"path": "OVMF.fd"})
    monkeypatch.chdir(tmp_path)
    for name in ("-", "-.lock"):
        Path(name).write_bytes(b"\0")
    protected = Protected()
    protected.add_guest("-", guest)
    protected.add_lock("-")
    assert _refusal(protected, "-", "-.lock") is None
    assert _refusal(protected, "OVMF.fd") == "an input of the guest, firmware.path"


def test_the_lock_is_the_one_that_is_named_or_lies_beside_the_manifest(tmp_path: Path) -> None:
    beside, named = tmp_path / "guest.lock", tmp_path / "named.lock"
    for path in (beside, named):
        path.write_bytes(b"\0")
    for manifest, given, kept in (
        (str(tmp_path / "guest.toml"), "", beside),
        (str(tmp_path / "guest.toml"), str(named), named),
        ("-", str(named), named),
    ):
        protected = Protected()
        protected.add_lock(manifest, given)
        assert [path for path in (beside, named) if _refusal(protected, path)] == [kept]
        assert _refusal(protected, kept) == "the lock"


def test_any_manifest_is_kept_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, values = tmp_path / "noted", tmp_path / "values.json"
    manifest.write_text("schema = 1\n")
    values.write_text("{}")
    assert _refusal(Protected(), tmp_path / "missing", values, manifest) == "a manifest"
    assert _refusal(Protected(), values, tmp_path / "missing") is None
    # What is larger than any manifest is not read.
    for largest, kept in ((11, "a manifest"), (10, None)):
        monkeypatch.setattr(module, "_LARGEST_DOCUMENT", largest)
        assert _refusal(Protected(), manifest) == kept


def test_a_pipe_is_not_read_to_see_what_is_in_it() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"schema = 1\n")
    os.close(writing)
    assert _refusal(Protected(), f"/proc/self/fd/{reading}") is None
    assert os.read(reading, 20) == b"schema = 1\n"
    os.close(reading)
