"""The manifests that `init` writes."""

from __future__ import annotations

import os

from sevbuild.errors import SevbuildError
from sevbuild.fs import read_file, read_text
from sevbuild.output.file import make_folder, write_files

__all__ = ["TEMPLATES", "read_template", "template_directory", "write_template"]

TEMPLATES = ("hello", "snp", "sev-es", "fleet", "ec2", "gce")

# What a template needs beside it to be measured at once.
_COMPANIONS = {"hello": ("hello/hello.fd",), "fleet": ("hello/hello.fd",)}
_LIMIT = 1 << 20


def shared_directory(name: str) -> str:
    """Return the folder `templates` or `guests`: inside an installed package, beside it in a checkout."""
    package = os.path.dirname(os.path.dirname(__file__))
    inside = os.path.join(package, name)
    return inside if os.path.isdir(inside) else os.path.join(os.path.dirname(package), name)


def template_directory() -> str:
    """Return the folder of the starter manifests."""
    return os.path.join(shared_directory("templates"), "init")


def read_template(name: str) -> str:
    """Return the text of a starter manifest; raises SevbuildError for an unknown name."""
    if name not in TEMPLATES:
        raise SevbuildError(f"unknown template {name!r}", hint=f"there are {', '.join(TEMPLATES)}")
    return read_text(os.path.join(template_directory(), f"{name}.toml"))


def write_template(name: str, path: str, *, force: bool = False) -> list[str]:
    """Write a starter manifest, with the firmware it needs where that ships, and return the paths written.

    An existing file is kept unless `force`.
    """
    text = read_template(name)
    folder = os.path.dirname(path)
    companions = {
        os.path.join(folder, os.path.basename(companion)): read_file(
            os.path.join(shared_directory("guests"), companion), _LIMIT
        )
        for companion in _COMPANIONS.get(name, ())
    }
    for written in (path, *companions):
        if os.path.lexists(written) and not force:
            raise SevbuildError(
                f"{written} already exists", hint="--force replaces it; - as the path prints it instead"
            )
    if folder:
        make_folder(folder)
    files = {path: text.encode(), **companions}
    write_files(files, replace=force)
    return list(files)
