"""From a libvirt domain to the QEMU arguments that say the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from xml.parsers import expat

from sevbuild.errors import SevbuildError

__all__ = ["domain_arguments"]

_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
_MAX_DEPTH = 64
_UNITS = {
    "b": 1, "bytes": 1, "k": 1 << 10, "kb": 1000, "kib": 1 << 10, "m": 1 << 20, "mb": 1000**2, "mib": 1 << 20,
    "g": 1 << 30, "gb": 1000**3, "gib": 1 << 30, "t": 1 << 40, "tb": 1000**4, "tib": 1 << 40,
}  # fmt: skip
_PROPERTIES = {
    "cbitpos": "cbitpos",
    "reducedPhysBits": "reduced-phys-bits",
    "policy": "policy",
    "hostData": "host-data",
    "idBlock": "id-block",
    "idAuth": "id-auth",
    "handle": "handle",
    "dhCert": "dh-cert-file",
    "session": "session-file",
    "guestVisibleWorkarounds": "guest-visible-workarounds",
}


_OS = (
    "acpi", "bios", "boot", "bootmenu", "cmdline", "dtb", "firmware", "initrd", "kernel", "loader", "nvram", "shim",
    "smbios", "type",
)  # fmt: skip
"""Elements of <os> that are read, or that tell the firmware what is not measured."""


class _Element:
    """One element: its name without prefix, attributes, text and children."""

    __slots__ = ("attributes", "children", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.attributes = attributes
        self.children: list[_Element] = []
        self.text: list[str] = []

    def find(self, path: str) -> _Element | None:
        """Return the first element at `a/b` below this one."""
        found: _Element | None = self
        for name in path.split("/"):
            found = next((child for child in found.children if child.name == name), None) if found else None
        return found

    def value(self, path: str) -> str | None:
        """Return the text of the element at `path`, white space at its ends included."""
        found = self.find(path)
        return None if found is None else "".join(found.text)


def domain_arguments(data: bytes) -> tuple[list[str], list[str]]:
    """Return QEMU arguments that say what a domain says, and notes on what they cannot.

    The document is untrusted: one with a DTD or deeper than 64 elements is refused. Raises SevbuildError.
    """
    domain = _parse(data)
    if domain.name == "domstatus":
        domain = domain.find("domain") or domain
    if domain.name != "domain":
        raise SevbuildError(f"the document is a <{domain.name[:40]}>, not a libvirt <domain>")
    notes: list[str] = []
    arguments = ["-accel", domain.attributes.get("type", "kvm")]
    arguments += _boot(domain, notes)
    arguments += _hardware(domain, notes)
    arguments += _security(domain, notes)
    if any(child.name in ("disk", "interface", "hostdev") for child in _children(domain, "devices")):
        notes.append("disks, networks and other devices of the domain are not in the manifest")
    # libvirt puts these after its own, where QEMU lets them change what came before.
    for child in domain.children:
        if child.name == f"{_QEMU} commandline":
            arguments += [arg.attributes.get("value", "") for arg in _direct(child, f"{_QEMU} arg")]
            if _direct(child, f"{_QEMU} env"):
                notes.append("the environment that the domain gives QEMU is not in the manifest")
        elif child.name.startswith(f"{_QEMU} "):
            notes.append(f"qemu:{child.name.removeprefix(f'{_QEMU} ')} of the domain is not in the manifest")
    return arguments, notes


def _direct(element: _Element, name: str) -> list[_Element]:
    return [child for child in element.children if child.name == name]


def _children(domain: _Element, name: str) -> list[_Element]:
    found = domain.find(name)
    return [] if found is None else found.children


def _boot(domain: _Element, notes: list[str]) -> Iterator[str]:
    name = (domain.value("name") or "").strip()
    if name:
        yield from ("-name", "guest=" + name.replace(",", ",,"))
    os_element = domain.find("os")
    if os_element is None:
        return
    kind = os_element.find("type")
    if kind is not None and kind.attributes.get("machine"):
        yield from ("-machine", kind.attributes["machine"].replace(",", ",,"))
    yield from _firmware(os_element, notes)
    for child in os_element.children:
        path = "".join(child.text)
        if child.name in ("kernel", "initrd", "dtb", "shim") and path.strip():
            yield from (f"-{child.name}", path.strip())
        elif child.name == "cmdline" and path:
            yield from ("-append", path)
        elif child.name not in _OS:
            notes.append(f"<{child.name}> of <os> is not read, and not in the manifest")


def _firmware(os_element: _Element, notes: list[str]) -> Iterator[str]:
    loader = os_element.find("loader")
    path = "" if loader is None else "".join(loader.text).strip()
    if loader is not None and path and loader.attributes.get("type") == "pflash":
        form = loader.attributes.get("format", "raw")
        yield from ("-drive", f"if=pflash,unit=0,format={form},file={path.replace(',', ',,')}")
    elif path:
        yield from ("-bios", path)
    elif os_element.attributes.get("firmware"):
        notes.append(
            "libvirt chooses the firmware of this domain: `virsh dumpxml` names the file once it runs"
        )
    if os_element.find("nvram") is not None:
        notes.append("the variable store (nvram) is not measured, and not in the manifest")


def _hardware(domain: _Element, notes: list[str]) -> Iterator[str]:
    vcpu = domain.find("vcpu")
    if vcpu is not None:
        count = "".join(vcpu.text).strip()
        current = vcpu.attributes.get("current", count)
        single = [child for child in _children(domain, "vcpus") if child.name == "vcpu"]
        if single:
            current = str(sum(child.attributes.get("enabled") != "no" for child in single))
        yield from ("-smp", current if current == count else f"{current},maxcpus={count}")
    memory = domain.find("memory")
    if memory is not None:
        yield from ("-m", _memory("".join(memory.text).strip(), memory.attributes.get("unit", "KiB")))
    cpu = domain.find("cpu")
    if cpu is not None:
        yield from ("-cpu", _cpu(cpu, notes))


def _cpu(cpu: _Element, notes: list[str]) -> str:
    """Return what QEMU's `-cpu` would say; a mode of libvirt for a CPU that it chooses on each host."""
    mode = cpu.attributes.get("mode", "custom")
    model = cpu.find("model")
    name = "" if model is None else "".join(model.text).strip()
    if mode != "custom":
        return mode
    if cpu.attributes.get("match") == "minimum":
        notes.append("a <cpu> with match='minimum' becomes the host's model")
        return "host-model"
    if model is not None and model.attributes.get("fallback", "allow") == "allow":
        notes.append(f"libvirt may fall back to another CPU where the host has no {name}")
    features = [child for child in cpu.children if child.name == "feature"]
    policies = {"force": "on", "require": "on", "disable": "off", "forbid": "off"}
    return name + "".join(
        f",{child.attributes.get('name', '')}={policies[policy]}"
        for child in features
        if (policy := child.attributes.get("policy", "require")) in policies
    )


def _security(domain: _Element, notes: list[str]) -> Iterator[str]:
    security = domain.find("launchSecurity")
    if security is None:
        return
    kind = security.attributes.get("type", "")
    known = {"sev": "sev-guest", "sev-snp": "sev-snp-guest"}
    if kind not in known:
        raise SevbuildError(f"launchSecurity is {kind[:40]!r}: not a kind that sevbuild measures")
    found: dict[str, object] = {"qom-type": known[kind], "id": "lsec0"}
    for child in security.children:
        value = "".join(child.text).strip()
        if child.name not in _PROPERTIES:
            notes.append(f"<{child.name}> of <launchSecurity> is not read, and not in the manifest")
        elif value:
            found[_PROPERTIES[child.name]] = value
    for name, given in (("kernelHashes", "kernel-hashes"), ("authorKey", "author-key-enabled")):
        if name in security.attributes:
            found[given] = security.attributes[name] == "yes"
    yield from ("-object", json.dumps(found), "-machine", "confidential-guest-support=lsec0")


def _memory(text: str, unit: str) -> str:
    factor = _UNITS.get(unit.lower())
    if factor is None or not (text.isascii() and text.isdigit() and len(text) < 19):
        raise SevbuildError(f"memory: not a size: {text[:40]!r} {unit[:20]!r}")
    # libvirt rounds a domain's memory up to KiB, QEMU up to its own alignment.
    size = -(-int(text) * factor // (1 << 20))
    return f"{size >> 10}G" if size % 1024 == 0 else f"{size}M"


def _parse(data: bytes) -> _Element:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    stack: list[_Element] = []
    roots: list[_Element] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) == _MAX_DEPTH:
            raise SevbuildError(f"not a libvirt domain: nested deeper than {_MAX_DEPTH} elements")
        element = _Element(name, attributes)
        (stack[-1].children if stack else roots).append(element)
        stack.append(element)

    def end(_name: str) -> None:
        stack.pop()

    def text(data: str) -> None:
        stack[-1].text.append(data)

    def doctype(*_declared: object) -> None:
        raise SevbuildError(
            "the document has a DTD", hint="a libvirt domain has none, and entities could expand without end"
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise SevbuildError(
            f"line {error.lineno}: not well-formed XML: {expat.ErrorString(error.code)}"
        ) from None
    except (ValueError, LookupError) as error:
        raise SevbuildError(f"not a readable XML document: {error}") from None
    return roots[0]
