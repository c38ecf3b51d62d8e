"""Launch commands of a target, rendered from `templates/launch/`."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from sevbuild.commands.launch import Launch, describe_launch
from sevbuild.commands.libvirt import LIBVIRT_FOLDER, domain_values, finalize_xml
from sevbuild.commands.qemu import Option, qemu_options, resolve
from sevbuild.commands.shell import option_line, quote
from sevbuild.errors import SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.guest.starter import shared_directory
from sevbuild.manifest.targets import Target
from sevbuild.text import decode_text, encode_text, visible

if TYPE_CHECKING:
    import jinja2

__all__ = ["earlier_domain", "launch_files", "libvirt_xml", "qemu_arguments", "qemu_json", "shell_script"]


def launch_files(
    guest: Guest, target: Target, files: Mapping[str, str], *, folder: str = "", digest: bytes | None = None
) -> dict[str, bytes]:
    """Return the launch commands of a target, file name to contents; the same bytes for the same guest.

    `files` maps roles (`firmware`, `kernel`, `initrd`, `igvm`, `vmsa0`, `vmsa1`) to paths in a bundle, and
    the commands go to its `folder`: the scripts name files from there, the domain from the bundle's own
    place. `digest` is the target's launch digest, computed where it is not given.
    Empty for a profile without a launch command. A command line that no XML document can hold is launched
    by the script alone.
    """
    if not target.profile.prose.command.starts:
        return {}
    placed = describe_launch(guest, target, files, digest=digest)
    launch = _from_folder(placed, folder)
    found = {
        "qemu.json": qemu_json(launch),
        "launch.sh": shell_script(launch, here=True),
    }
    try:
        found["libvirt.xml"] = libvirt_xml(placed)
    except SevbuildError as error:
        from sevbuild.errors import Notice

        guest.notices.append(Notice("warning", target.label, f"no libvirt.xml: {error.message}", error.hint))
    if target.mode != "snp":
        if digest is None:
            (measured,) = guest.measure([target])
            digest = measured.digest
        found["validate.sh"] = validate_script(launch, digest)
    return found


def earlier_domain(guest: Guest, target: Target, files: Mapping[str, str], folder: str) -> bytes:
    """Return libvirt.xml as it was written when its paths still led out of the stand-in."""
    launch = _from_folder(describe_launch(guest, target, files), folder)
    paths = {role: posixpath.normpath(f"{LIBVIRT_FOLDER}/{path}") for role, path in launch.files.items()}
    values = domain_values(launch._replace(files=paths), LIBVIRT_FOLDER)
    return _render("domain.xml.j2", launch=launch, **{**values, "stand_in": None})


def _from_folder(launch: Launch, folder: str) -> Launch:
    return launch._replace(
        files={role: posixpath.relpath(path, folder or ".") for role, path in launch.files.items()}
    )


def qemu_arguments(launch: Launch) -> list[str]:
    """Return the arguments after the program's name, with the host's values at their defaults.

    Bytes of a command line that are not UTF-8 are lone surrogates, as `encode_text` takes them.
    """
    return resolve(qemu_options(launch))


def qemu_json(launch: Launch) -> bytes:
    """Return the arguments as a JSON array of strings."""
    return (json.dumps(qemu_arguments(launch), indent=2) + "\n").encode()


def shell_script(launch: Launch, *, here: bool) -> bytes:
    """Return a POSIX shell script; with `here` it runs in its own folder, else in the caller's."""
    return _render("launch.sh.j2", launch=launch, options=qemu_options(launch), here=here)


def libvirt_xml(launch: Launch, *, folder: str = LIBVIRT_FOLDER) -> bytes:
    """Return a libvirt domain; relative paths start from the absolute `folder`.

    Raises SevbuildError for a command line or path that no XML document can hold.
    """
    return _render("domain.xml.j2", launch=launch, **domain_values(launch, folder))


def validate_script(launch: Launch, digest: bytes) -> bytes:
    """Return the script that checks an SEV or SEV-ES measurement with either of two tools.

    virt-qemu-sev-validate takes the files and a decimal policy, sevctl the digest: it wants a kernel, an
    initrd and a command line or none of them.
    """
    from base64 import b64encode

    options: list[Option] = []
    if not launch.igvm:
        options.append(("--firmware", (launch.files["firmware"],)))
    if launch.kernel_hashes and launch.cmdline is not None:
        options += [
            ("--" + role, (launch.files[role],)) for role in ("kernel", "initrd") if role in launch.files
        ]
        options.append(("--cmdline", (decode_text(launch.cmdline),)))
    if launch.mode == "sev-es":
        options.append(("--num-cpus", (str(launch.vcpus),)))
        options += [
            (f"--vmsa-cpu{index}", (launch.files.get(f"vmsa{index}", f"vmsa{index}.bin"),))
            for index in range(min(launch.vcpus, 2))
        ]
    return _render(
        "validate.sh.j2",
        launch=launch,
        validate=options,
        digest=digest.hex(),
        digest_base64=b64encode(digest).decode(),
    )


def _render(template: str, **values: Any) -> bytes:
    return encode_text(_environment(xml=".xml." in template).get_template(template).render(**values))


@cache
def _environment(*, xml: bool) -> jinja2.Environment:
    # Kept, with the templates that it compiles: a fleet renders the same three a thousand times.
    import jinja2

    folder = os.path.join(shared_directory("templates"), "launch")
    more: dict[str, Any] = {"finalize": finalize_xml} if xml else {}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=jinja2.select_autoescape(("xml.j2",), default=False),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        **more,
    )
    environment.filters.update(line=visible, quote=quote, words=option_line)
    return environment
