"""What is wrong with a command line, said as every other error is; imported only where something is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sevbuild.errors import SevbuildError

__all__ = ["setting_hint", "unexpected_arguments", "unknown_verb", "usage_error"]

_SETTINGS = {
    "--append": "kernel.cmdline=TEXT",
    "--bios": "firmware.path=FILE",
    "--cmdline": "kernel.cmdline=TEXT",
    "--cpu": "vcpu.model=NAME",
    "--guest-features": "launch.guest-features=0x1",
    "--host-data": "launch.host-data=HEX",
    "--initrd": "initrd.path=FILE",
    "--kernel": "kernel.path=FILE",
    "--loader": "launch.profile=NAME",
    "--mode": "launch.mode=snp",
    "--model": "vcpu.model=NAME",
    "--order": "launch.order=canonical",
    "--ovmf": "firmware.path=FILE",
    "--policy": "launch.policy=0x30000",
    "--profile": "launch.profile=NAME",
    "--smp": "vcpu.count=N",
    "--snp-ovmf-hash": "firmware.seed=HEX",
    "--svsm": "svsm.path=FILE",
    "--uki": "kernel.uki=FILE",
    "--vcpu-family": "vcpu.family=N",
    "--vcpu-model": "vcpu.model-number=N",
    "--vcpu-sig": "vcpu.signature=0x00a00f11",
    "--vcpu-stepping": "vcpu.stepping=N",
    "--vcpu-type": "vcpu.model=NAME",
    "--vcpus": "vcpu.count=N",
    "--vmm-type": "launch.profile=NAME",
    "--vars-file": "svsm.vars-path=FILE",
    "--vars-size": "svsm.vars-size=N",
    "--with-cmdline": "kernel.cmdline=TEXT",
    "--with-initrd": "initrd.path=FILE",
    "--with-kernel": "kernel.path=FILE",
}
"""What other tools have as a flag, sev-snp-measure and QEMU above all, and a manifest has as a key."""

_OTHER_NAMES = {
    "--json": "--format json",
    "--out": "--output",
    "--output-format": "--format",
    "--overwrite": "--force",
    "--silent": "--quiet",
    "--verify": "`sevbuild verify`",
}


_SAME = {"--append": "--cmdline", "--model": "--cpu", "--smp": "--vcpus", "--vcpu-type": "--cpu"}
"""What verbs without a manifest have under another name."""


def usage_error(error: Any, arguments: Sequence[str]) -> SevbuildError:
    """Return what the parser complains of as an error of ours; `error` is click's."""
    kind = type(error).__name__
    parameter = getattr(error, "param", None)
    verb = _verb(error.ctx, arguments)
    if kind == "NoSuchOption":
        return _no_such_option(error, verb, arguments)
    message = _plain(error.message)
    if kind == "MissingParameter" and parameter is not None:
        option = parameter.param_type_name == "option"
        name = f"{max(parameter.opts, key=len)} {parameter.metavar}" if option else parameter.metavar
        message = f"missing {name}"
    elif kind == "BadParameter" and parameter is not None:
        message = f"{max(parameter.opts, key=len)}: {message}"
    elif kind == "BadOptionUsage" and "requires an argument" in message:
        message = f"{error.option_name}: its value is missing"
    return SevbuildError(message, hint=_help_hint(verb))


def unexpected_arguments(context: Any, words: list[str]) -> SevbuildError:
    """Return the error of arguments that a verb does not take."""
    verb = _verb(context, ())
    return SevbuildError(f"unexpected argument: {words[0]!r}", hint=_help_hint(verb))


def setting_hint(flag: str) -> str:
    """Return the hint that a manifest has a key for what a flag of `_SETTINGS` says."""
    return f"it is a key of the manifest: --set {_SETTINGS[flag]}"


def unknown_verb(name: str, known: list[str]) -> SevbuildError:
    """Return the error of a verb that is not there."""
    from sevbuild.documents.document import suggest

    hint = suggest(name, known) or "`sevbuild --help` lists the verbs"
    return SevbuildError(f"unknown verb {name!r}", hint=hint)


def _no_such_option(error: Any, verb: str, arguments: Sequence[str]) -> SevbuildError:
    """Return the error of an unknown option, with what was meant by it as far as that can be told."""
    from sevbuild.documents.document import suggest

    name = error.option_name
    if not name.startswith("--"):
        # The parser takes `-append` for `-a` and more.
        name = next((word for word in arguments if word.startswith(name)), name)
    long = f"--{name.lstrip('-').partition('=')[0]}"
    options = [
        option
        for parameter in (error.ctx.command.params if error.ctx is not None else ())
        for option in parameter.opts
        if not getattr(parameter, "hidden", False)
    ]
    if long in _SETTINGS and "--set" in options:
        hint = f"{setting_hint(long)}; `sevbuild import -- COMMAND...` turns a command into a manifest"
    elif long in _OTHER_NAMES:
        hint = f"it is {_OTHER_NAMES[long]}"
    elif _SAME.get(long) in options:
        hint = f"it is {_SAME[long]} here"
    else:
        hint = suggest(long, options) or _help_hint(verb)
    return SevbuildError(f"no such option: {name}", hint=hint)


def _verb(context: Any, arguments: Sequence[str]) -> str:
    """Return the verb that was called, with the one below it where there is one; empty for none."""
    if context is not None:
        return str(context.command_path).partition(" ")[2]
    return arguments[0] if arguments and not arguments[0].startswith("-") else ""


def _help_hint(verb: str) -> str:
    return f"`sevbuild {verb} -h` lists what it takes" if verb else "`sevbuild -h` lists what it takes"


def _plain(message: str) -> str:
    plain = f"{message[:1].lower()}{message[1:]}".removesuffix(".")
    return re.sub(r"is not a valid int(eger)?\b", "is not a whole number", plain)
