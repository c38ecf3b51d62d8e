"""Which files a manifest rests on, and which files are manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from sevbuild.guest.manifest_files import MANIFEST, PROFILE, document_kind, named_files
from tests.support.guests import guest_of

PROFILE_TEXT = 'schema = 1\nname = "{}"\nextends = "{}"\nsummary = "x"\nas-of = "2026-01-01"\n'


def test_a_manifest_names_its_files_and_those_of_its_profiles(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(PROFILE_TEXT.format("base", "qemu"))
    (tmp_path / "ours.toml").write_text(PROFILE_TEXT.format("ours", "./base.toml"))
    guest = guest_of(
        tmp_path,
        firmware={"path": "OVMF.fd"},
        kernel={"url": "https://example.org/kernel", "sha256": "ab" * 32, "cmdline-file": "line"},
        initrd={"path": ["one", "two"]},
        matrix=[{"launch": {"profile": "ours.toml"}}, {"firmware": {"path": "other.fd"}}],
    )
    named = list(named_files(guest))
    inputs = [
        ("an input of the guest, kernel.cmdline-file", str(tmp_path / "line")),
        ("an input of the guest, initrd.path[0]", str(tmp_path / "one")),
        ("an input of the guest, initrd.path[1]", str(tmp_path / "two")),
    ]
    assert set(named) == {
        *inputs,
        ("an input of the guest, firmware.path", str(tmp_path / "OVMF.fd")),
        ("an input of the guest, firmware.path", str(tmp_path / "other.fd")),
        *(
            ("a profile of the guest, ours.toml or what it extends", str(tmp_path / name))
            for name in ("ours.toml", "base.toml")
        ),
    }


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("guest.toml", "schema = 1\n", MANIFEST),
        ("guest.toml", "[launch]\n", MANIFEST),
        ("noted", "schema = 1\n[guest]\n", MANIFEST),
        ("noted", '[guest]\nas-of = "2026"\n', MANIFEST),
        ("ours.toml", PROFILE_TEXT.format("ours", "qemu"), PROFILE),
        ("noted", 'as-of = "2026"\n', PROFILE),
        # A lock, and what is another program's.
        ("guest.lock", 'schema = 1\nsevbuild = "1"\n', None),
        ("other.toml", 'schema = "1"\n', None),
        ("other.toml", "[tool]\n", None),
        # What is being edited.
        ("guest.toml", "schema = \n", MANIFEST),
        ("noted", "schema = \n", None),
    ],
)
def test_a_document_is_told_by_its_tables(tmp_path: Path, name: str, text: str, kind: str | None) -> None:
    (tmp_path / name).write_text(text)
    assert document_kind(str(tmp_path / name)) == kind


def test_what_cannot_be_read_as_text_is_no_document(tmp_path: Path) -> None:
    (tmp_path / "guest.toml").write_bytes(b"\xff")
    assert document_kind(str(tmp_path / "guest.toml")) is None
    assert document_kind(str(tmp_path / "absent.toml")) is None
