"""`sevbuild qemu-args`: the launch command of a target, over the manifest's own files."""

from __future__ import annotations

import os

from sevbuild.cli import options
from sevbuild.cli.passphrase import PassphraseOptions
from sevbuild.cli.report import print_data, print_notices, print_warning
from sevbuild.errors import SevbuildError

__all__ = ["qemu_args"]

FORMATS = ("shell", "json", "libvirt")


def qemu_args(
    manifest: str = options.MANIFEST,
    *,
    target: str = options.value_option("--target", metavar="LABEL", text="The target, if there are several."),
    fmt: str = options.format_option(*FORMATS),
    folder: str | None = options.value_option(
        "--folder",
        metavar="DIR",
        text="Where relative paths start for libvirt. Default: /bundle.",
        default=None,
    ),
    settings: list[str] = options.SETTINGS,
    passphrases: PassphraseOptions,
    quiet: bool = options.QUIET,
) -> None:
    """Print the command that launches a target: a shell script, QEMU's arguments, a libvirt domain."""
    options.check_format(fmt, FORMATS)
    if folder is not None and fmt != "libvirt":
        raise SevbuildError("--folder requires --format libvirt; other formats keep paths as they are")
    from sevbuild.bundle.own_files import own_files, single_target
    from sevbuild.commands.files import libvirt_xml, qemu_json, shell_script
    from sevbuild.commands.launch import describe_launch
    from sevbuild.commands.libvirt import LIBVIRT_FOLDER
    from sevbuild.guest.guest import load_guest

    guest = load_guest(manifest, settings=options.read_settings(settings))
    passphrases.open_keys(guest)
    chosen = single_target(guest, target)
    launch = describe_launch(guest, chosen, own_files(guest, chosen))
    if fmt == "json":
        data = qemu_json(launch)
    elif fmt == "libvirt":
        place = LIBVIRT_FOLDER if folder is None else os.path.join(os.getcwd(), folder)
        data = libvirt_xml(launch, folder=place)
    else:
        data = shell_script(launch, here=False)
    print_notices([notice for notice in guest.notices if notice.level == "warning"], quiet=quiet)
    for note in () if quiet else launch.notes:
        print_warning(note)
    print_data(data)
