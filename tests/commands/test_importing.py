"""Commands of others become manifests, and say what they did not know."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from sevbuild.commands.files import libvirt_xml, qemu_arguments, qemu_json, shell_script
from sevbuild.commands.importing import source
from sevbuild.commands.importing.draft import Draft
from sevbuild.commands.importing.source import import_data, import_words, write_draft
from sevbuild.errors import MismatchError, SevbuildError
from sevbuild.guest.guest import Guest
from sevbuild.manifest.decode import decode_manifest
from sevbuild.vcpu.models import CPU_MODELS
from tests.support.firmware import standard_firmware
from tests.support.launches import FILES, launch_of, launching_guest
from tests.support.peer import peer_digest
from tests.test_differential import RandomGuest, random_guests

SNP = [
    "qemu-system-x86_64", "-name", "guest=My Guest,debug-threads=on", "-machine", "pc-q35-9.1,confidential-guest-support=sev0",
    "-enable-kvm", "-cpu", "EPYC-v4,-svm,x2apic=on", "-smp", "4,maxcpus=8", "-m", "2048",
    "-object", "sev-snp-guest,id=sev0,cbitpos=51,reduced-phys-bits=1,kernel-hashes=on", "-bios", "OVMF.fd",
    "-kernel", "vmlinuz", "-append", "a={x}",
]  # fmt: skip


def tables(draft: Draft) -> dict[str, Any]:
    """Return the manifest of a draft as it would be read."""
    return tomli.loads(write_draft(draft, source="test"))


def notes(draft: Draft) -> str:
    unknown = [(key, f"UNKNOWN: {why}") for key, reasons in draft.unknown.items() for why in reasons]
    return "\n".join(f"{key}: {note}" for key, note in [*draft.notes, *unknown])


def test_a_command_line_becomes_a_manifest() -> None:
    draft = import_words(SNP)
    found = tables(draft)
    assert found["guest"] == {"name": "my-guest", "version": "0"}
    assert found["launch"] == {"mode": "snp", "profile": "qemu", "policy": 0x30000}
    assert found["kernel"] == {"path": "vmlinuz", "cmdline": "a={{x}}"}
    assert found["vcpu"] == {"count": 4, "model": "EPYC-v4"}
    assert found["machine"] == {"memory": "2048M", "cbitpos": 51, "reduced-phys-bits": 1}
    said = notes(draft)
    for note in (
        "QEMU's default",
        "plugged later",
        "-svm, x2apic=on",
        "which kernel the host runs",
        "no version",
    ):
        assert note in said


@pytest.mark.parametrize(
    ("more", "key", "value"),
    [
        (["-smp", "sockets=2,cores=3,threads=2"], "vcpu.count", 12),
        (["-smp", "cpus=3,maxcpus=8"], "vcpu.count", 3),
        (["-smp", "maxcpus=8"], "vcpu.count", 8),
        (["-cpu", "EPYC-v4,family=25,model=1,stepping=1"], "vcpu.signature", 0xA00F11),
        (["-cpu", "EPYC-Milan,stepping=0"], "vcpu.signature", 0xA00F10),
        (["-cpu", "host,family=0x19,model=1,stepping=1"], "vcpu.signature", 0xA00F11),
        (["-m", "size=4G,slots=2"], "machine.memory", "4G"),
        (["-m", "1048576K"], "machine.memory", "1024M"),
        (["-m", "1T"], "machine.memory", "1048576M"),
        (["--append", "b"], "kernel.cmdline", "b"),
        (["-initrd", "i"], "initrd.path", "i"),
        (
            ["-device", "pci-bridge", "-S", "-usb"],
            "machine.extra-args",
            ["-device", "pci-bridge", "-S", "-usb"],
        ),
        (["image"], "machine.extra-args", ["image"]),
    ],
)
def test_each_option_becomes_its_key(more: list[str], key: str, value: Any) -> None:
    table, _, name = key.partition(".")
    without = [word for word in SNP if word not in ("-smp", "4,maxcpus=8")]
    assert tables(import_words([*(without if "-smp" in more else SNP), *more]))[table][name] == value


@pytest.mark.parametrize(
    ("guest", "launch"),
    [
        ("sev-guest,id=sev0,policy=0x1,reduced-phys-bits=1", {"mode": "sev", "profile": "qemu", "policy": 1}),
        ("sev-guest,id=sev0,policy=5", {"mode": "sev-es", "profile": "qemu", "policy": 5}),
        ('{"qom-type":"sev-guest","id":"sev0","policy":5,"legacy-vm-type":"off"}', {"mode": "sev-es", "profile": "qemu-es-init2", "policy": 5}),
        ("sev-snp-guest,id=sev0,policy=0xb0000,host-data=" + "AAAA" * 10 + "AAA=", {"mode": "snp", "profile": "qemu", "policy": 0xB0000, "host-data": "00" * 32}),
    ],
)  # fmt: skip
def test_each_technology_becomes_its_mode(guest: str, launch: dict[str, Any]) -> None:
    words = ["qemu-kvm", "-machine", "q35,confidential-guest-support=sev0", "-object", guest, "-cpu", "EPYC"]
    draft = import_words(words)
    found = tables(draft)
    assert found["launch"] == launch
    assert draft.unknown["firmware.path"] == ["the command line names no firmware"]


@pytest.mark.parametrize(
    ("flash", "path"),
    [
        (["-pflash", "CODE.fd", "-pflash", "VARS.fd"], "CODE.fd"),
        (["-drive", "if=pflash,format=raw,unit=1,file=VARS.fd", "-drive", "if=pflash,unit=0,readonly=on,file=a,,b"], "a,b"),
        (["-blockdev", '{"driver":"file","filename":"/c.fd","node-name":"s"}', "-blockdev", "node-name=f,driver=raw,file=s", "-machine", "pflash0=f,pflash1=g"], "/c.fd"),
        (["-blockdev", "node-name=f,driver=raw,file.driver=file,file.filename=/d.fd", "-machine", "pflash0=f,pflash1=g"], "/d.fd"),
    ],
)  # fmt: skip
def test_firmware_in_flash_is_found(flash: list[str], path: str) -> None:
    at = SNP.index("-bios")
    draft = import_words([*SNP[:at], *SNP[at + 2 :], *flash])
    assert tables(draft)["firmware"]["path"] == path
    assert "variable store in flash unit 1" in notes(draft)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (["-cpu", "host"], "UNKNOWN: -cpu host depends on the host"),
        (["-cpu", "max"], "UNKNOWN: -cpu max depends on the host"),
        (["-cpu", "qemu64"], "UNKNOWN: the CPU is qemu64"),
        (["-dtb", "x"], "-dtb is appended"),
        (["-machine", "pflash0=nowhere,pflash1=x"], "variable store"),
        (["-machine", "confidential-guest-support="], "does not name its confidential-guest-support"),
        (["-object", "sev-snp-guest,id=sev0,id-block=x,certs-path=y"], ""),
    ],
)
def test_what_is_not_known_is_said(change: list[str], note: str) -> None:
    draft = import_words([*SNP, *change])
    assert note in notes(draft)
    text = write_draft(draft, source="a\nb")
    assert text.startswith("# Imported from a\\nb.\n")
    assert note.partition(": ")[2] in text


def test_nothing_is_passed_over_in_silence() -> None:
    words = [
        "qemu-system-x86_64", "-machine", "confidential-guest-support=a", "-object",
        "sev-snp-guest,id=a,id-block=x,certs-path=y", "-initrd", "i", "-append", "x",
    ]  # fmt: skip
    said = notes(import_words(words))
    for note in ("id-block, the ID block", "certs-path=y of the guest object", "-initrd without", "-append without",
                 "no firmware", "QEMU's default", "UNKNOWN: the CPU is not given", "how much", "does not name the guest",
                 "machine.cbitpos"):  # fmt: skip
        assert note in said, note
    none = import_words(["qemu-system-x86_64", "-kernel", "k"])
    assert "UNKNOWN: the command line has no sev-guest" in notes(none)
    assert "kernel.hashes: UNKNOWN: there is no guest object" in notes(none)


OWN = [word for word in SNP if word not in ("-bios", "OVMF.fd")]


@pytest.mark.parametrize(
    ("words", "key", "why"),
    [
        ([*OWN, "-drive", "if=pflash,file=a.qcow2"], "firmware.path", "flash a.qcow2 is not measured as the file is"),
        ([*OWN, "-drive", "if=pflash,file=a,format=qcow2"], "firmware.path", "with qcow2"),
        ([*OWN, "-blockdev", "node-name=f,driver=qcow2,file.filename=a", "-machine", "pflash0=f"], "firmware.path", "with qcow2"),
        ([*OWN, "-blockdev", "node-name=f,driver=raw,offset=4096,file.filename=a", "-machine", "pflash0=f"], "firmware.path", "with offset"),
        ([*OWN, "-blockdev", "node-name=f,driver=raw,file=f", "-machine", "pflash0=f"], "firmware.path", "pflash0=f does not name a file"),
        ([*OWN], "firmware.path", "names no firmware"),
        ([*SNP, "-object", "tdx-guest,id=t", "-machine", "confidential-guest-support=t"], "launch.mode", "is a tdx-guest"),
        ([*SNP, "-machine", "confidential-guest-support=t"], "launch.mode", "names no object"),
        (["qemu-kvm", "-accel", "tcg", *SNP[7:], *SNP[3:5]], "launch.mode", "with accelerator tcg"),
        (["qemu-kvm", "-machine", "accel=tcg:whpx", *SNP[7:], *SNP[3:5]], "launch.mode", "with accelerator tcg"),
        ([*SNP, "-object", "igvm-cfg,id=i"], "igvm.path", "names no IGVM file"),
        ([*SNP, "-object", "sev-snp-guest,id=s,tsc-frequency=1", "-machine", "confidential-guest-support=s"], "launch.guest-features", "tsc-frequency=1"),
    ],
)  # fmt: skip
def test_what_is_left_open(words: list[str], key: str, why: str) -> None:
    draft = import_words(words)
    assert why in "; ".join(draft.unknown[key])
    text = write_draft(draft, source="x")
    assert f"# {key.partition('.')[2]} = ... # UNKNOWN: " in text


@pytest.mark.parametrize(
    ("command", "key", "why"),
    [
        ("-machine q35,confidential-guest-support=$S", "launch.mode", "confidential-guest-support=$S: $S is not"),
        ("-object sev-guest,id=sev1,policy=$P -machine confidential-guest-support=sev1", "launch.mode", "whether it is sev or sev-es"),
        ("-object sev-guest,id=s,legacy-vm-type=$L -machine confidential-guest-support=s", "launch.profile", "legacy-vm-type=$L"),
        ("-object sev-snp-guest,id=s,host-data=$H -machine confidential-guest-support=s", "launch.host-data", "host-data=$H"),
        ("-object sev-snp-guest,id=s,kernel-hashes=$K -machine confidential-guest-support=s", "kernel.hashes", "kernel-hashes=$K"),
        ("-object sev-snp-guest,id=s,cbitpos=$C -machine confidential-guest-support=s", "machine.cbitpos", "cbitpos=$C"),
        ("-object sev-snp-guest,id=s,$MORE -machine confidential-guest-support=s", "machine.extra-args", "may have any property"),
        ("-object $OBJECT", "machine.extra-args", "-object $OBJECT may have any property: $OBJECT is not"),
        ("-machine $MACHINE", "machine.extra-args", "may have any property"),
        ("-drive $DISK", "machine.extra-args", "may have any property"),
        ("-drive if=pflash,unit=$U,file=x", "firmware.path", "a flash of unit $U"),
        ("-$X y", "machine.extra-args", "-$X y may be any option"),
        ("-smp 2,$MORE", "vcpu.count", "-smp $MORE may say any number"),
        ("-smp sockets=$N -machine smp.cpus=$N", "vcpu.count", "-smp cpus=$N"),
        ("-cpu EPYC,$MORE", "vcpu.model", "-cpu $MORE may say any number"),
        ("-cpu EPYC,stepping=$N", "vcpu.model", "-cpu stepping=$N"),
        ("-global EPYC-x86_64-cpu.$N=1", "machine.extra-args", "may have any property"),
        ("-m $MEM", "machine.memory", "-m $MEM"),
        ("-object '{\"qom-type\":\"sev-snp-guest\",\"id\":\"s2\",\"policy\":'$P', \"x\":\"'$Y'\"}' -machine confidential-guest-support=s2", "launch.policy", "policy=$P"),
        ("-device loader,file=$X", "machine.extra-args", "-device loader,file=$X: a device"),
    ],
)  # fmt: skip
def test_what_a_shell_would_say_is_left_open(command: str, key: str, why: str) -> None:
    text = " ".join(f"'{word}'" for word in SNP) + f" {command}\n"
    draft = import_data(text.encode())
    assert why in "; ".join(draft.unknown[key])
    assert f"# {key.partition('.')[2]} = ... # UNKNOWN: " in write_draft(draft, source="x")


@pytest.mark.parametrize(
    ("more", "note"),
    [
        (["-gdb", "tcp::1"], "-gdb tcp::1 concerns the process on its host"),
        (["-L", "/dir"], "QEMU looks for files without a path in /dir too"),
        (["-s"], "-s concerns the process"),
        (["-m", "1G,slots=2,maxmem=4G"], "plugged later"),
        (["-smp", "cores=2"], "topology"),
        (
            ["-object", "memory-backend-file,id=m,size=1G", "-machine", "memory-backend=m"],
            "its backend is not kept",
        ),
        (["-machine", "pc"], "machine type pc is not measured"),
        (["-accel", "kvm,dirty-ring-size=1"], "-accel kvm,dirty-ring-size=1 is not kept"),
        (["-shim", "s.efi"], "-shim s.efi is not measured"),
        (["-object", "igvm-cfg,id=i,file=x"], "launches no firmware of its own"),
        (["-global", "EPYC-v4-x86_64-cpu.pmu=off"], "EPYC-v4-x86_64-cpu.pmu=off"),
    ],
)
def test_what_is_not_kept_is_said(more: list[str], note: str) -> None:
    draft = import_words([*SNP, *more])
    assert note in notes(draft)
    assert not draft.unknown
    assert note in write_draft(draft, source="x")


def test_what_is_written_anew_takes_its_parts_along() -> None:
    more = [
        "-blockdev", "driver=file,filename=c.fd,node-name=a", "-blockdev", "driver=raw,file=a,node-name=b",
        "-blockdev", "driver=file,filename=v.fd,node-name=v", "-machine", "pflash0=b,pflash1=v,memory-encryption=sev0",
        "-object", "memory-backend-memfd,id=m,size=1G", "-object", "memory-backend-ram,id=n,size=1G", "-machine",
        "memory-backend=m,vmport=off,usb=a,,b",
    ]  # fmt: skip
    without = [word for word in OWN if not word.startswith("pc-q35")]
    without.remove("-machine")
    draft = import_words([*without, *more])
    found = tables(draft)
    assert found["firmware"]["path"] == "c.fd"
    assert found["machine"]["extra-args"] == [
        "-object", "memory-backend-ram,id=n,size=1G", "-machine", "vmport=off,usb=a,,b",
    ]  # fmt: skip
    assert "variable store" in notes(draft)


KATA = [
    "/opt/kata/bin/qemu-system-x86_64", "-name", "sandbox-1,debug-threads=on", "-machine",
    "q35,accel=kvm,kernel_irqchip=split,confidential-guest-support=snp", "-cpu", "EPYC-v4,", "-qmp", "unix:fd=3,server=on,wait=off",
    "-m", "2048M", "-device", "pcie-pci-bridge,bus=rp-pci-bridge-0,id=pci-bridge-0", "-device", "virtio-serial-pci,id=serial0",
    "-device", "virtconsole,chardev=charconsole0,id=console0", "-chardev", "socket,id=charconsole0,path=/run/x,server=on,wait=off",
    "-drive", "id=image-1,file=/i.img,aio=threads,format=raw,if=none,readonly=on", "-object",
    "sev-snp-guest,id=snp,cbitpos=51,reduced-phys-bits=1,kernel-hashes=on,policy=196608", "-object",
    "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0", "-device",
    "vhost-vsock-pci,vhostfd=4,id=vsock-1,guest-cid=77", "-netdev", "tap,id=n0,vhost=on,vhostfds=5,fds=6", "-device",
    "driver=virtio-net-pci,netdev=n0,mac=2a:00:00:00:00:01,mq=on,vectors=4", "-rtc", "base=utc,driftfix=slew,clock=host",
    "-global", "kvm-pit.lost_tick_policy=discard", "-vga", "none", "-no-user-config", "-nodefaults", "-nographic", "--no-reboot",
    "-object", "memory-backend-ram,id=dimm1,size=2048M", "-kernel", "/vmlinuz", "-append", 'x dm-mod.create="y z" w', "-bios",
    "/AMDSEV.fd", "-smp", "2,cores=1,threads=1,sockets=2", "-pidfile", "/run/pid", "-sandbox", "on,obsolete=deny",
]  # fmt: skip


def test_the_process_of_a_kata_guest() -> None:
    draft = import_data("".join(f"{word}\0" for word in KATA).encode())
    assert not draft.unknown
    found = tables(draft)
    assert found["launch"] == {"mode": "snp", "profile": "qemu", "policy": 0x30000}
    assert found["kernel"] == {"path": "/vmlinuz", "cmdline": 'x dm-mod.create="y z" w'}
    assert found["firmware"]["path"] == "/AMDSEV.fd"
    assert found["vcpu"] == {"count": 2, "model": "EPYC-v4"}
    extra = found["machine"]["extra-args"]
    assert extra[:2] == ["-machine", "kernel-irqchip=split"]
    assert {"-qmp", "-netdev", "-drive", "-rtc", "-global", "-sandbox"} <= set(extra)


def test_options_without_a_program_are_one_command() -> None:
    lines = "\n".join(f"'{word}'" for word in SNP[1:])
    pairs = lines.replace("\n'-", "\0").replace("\n", " ").replace("\0", "\n'-")
    assert pairs.count("\n") > 5
    assert tables(import_data(pairs.encode())) == tables(import_words(SNP))


def test_the_first_command_counts_and_others_are_told() -> None:
    line = " ".join(f"'{word}'" for word in SNP)
    text = f"qemu-system-x86_64 -version; qemu-kvm -object help\napt install qemu-system-x86_64\nsudo -E {line} -smp 2\n{line} -smp 3\n"
    draft = import_data(text.encode())
    assert tables(draft)["vcpu"]["count"] == 2
    assert "the command of line 3 is used; there are more, on line 4" in notes(draft)
    named = import_data(f'"$QEMU" {line.partition(" ")[2]}'.encode())
    assert "the program is $QEMU, taken for QEMU" in notes(named)
    with pytest.raises(SevbuildError, match="there is no command"):
        import_data(b"$X -a b; grep -r qemu-system-x86_64 .")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ls", "-l"], "neither QEMU nor"),
        ([], "neither QEMU nor"),
        (["qemu-system-x86_64", "-kernel"], "its value is missing"),
        ([*SNP, "-smp", "many"], "not a number"),
        ([*SNP, "-smp", "0x10000"], "a guest cannot have"),
        ([*SNP, "-m", "lots"], "not a size"),
        ([*SNP, "-m", "1K"], "not a multiple"),
        ([*SNP, "-cpu", "EPYC,family=999"], "family"),
        ([*SNP, "-cpu", "EPYC,family=-1"], "not a number"),
        ([*SNP, "-cpu", "EPYC,family=0x10000000000000000"], "out of range"),
        ([*SNP, "-cpu", "EPYC,family=09"], "not a number"),
        (["qemu-kvm", "a\0b"], "contains a NUL"),
        (
            [
                *SNP[:-2],
                "-object",
                "sev-guest,id=sev1,kernel-hashes=maybe",
                "-machine",
                "confidential-guest-support=sev1",
            ],
            "neither on nor off",
        ),
        (["qemu-kvm", "-object", "{"], "not valid JSON"),
        (["qemu-kvm", "-object", "sev-snp-guest,host-data=?"], "not base64"),
        (["qemu-kvm", "-object", "sev-snp-guest,legacy-vm-type=off"], "no profile launches"),
        ([*SNP, "-append", "\udcff"], "not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        write_draft(import_words(words), source="test")


def test_every_shape_of_a_document() -> None:
    expected = tables(import_words(SNP))
    script = "#!/bin/sh\n# a comment 'x\nset -eu\nCPU=1 exec qemu-system-x86_64 " + " \\\n ".join(
        json.dumps(word) for word in SNP[1:]
    )
    for data in (
        "\0".join(SNP).encode() + b"\0",
        json.dumps(SNP).encode(),
        json.dumps(SNP[1:]).encode(),
        script.encode() + b' "$@" &\necho done\n',
    ):
        assert tables(import_data(data)) == expected
    draft = import_data(b'qemu-kvm -bios "$OVMF/x.fd" -kernel $(ls) -cpu EPYC -append "${A-b} \\$c"')
    assert "firmware.path: UNKNOWN: $OVMF/x.fd: $OVMF is not assigned" in notes(draft)
    assert "kernel.path: UNKNOWN: $(ls): $(ls) is what the shell" in notes(draft)
    assert "kernel.cmdline: UNKNOWN: ${A-b} $c: ${A-b} is what" in notes(draft)
    for data in (b"", b"echo hello\n", b"[1]", b"[", b"{}"):
        with pytest.raises(SevbuildError, match="there is no command"):
            import_data(data)


@settings(max_examples=150, deadline=None)
@given(
    data=st.binary(max_size=200) | st.text(alphabet="<>\"'$(){}\\ \n-ab&;#=,/", max_size=80).map(str.encode)
)
def test_no_document_crashes_the_reader(data: bytes) -> None:
    for prefix in (b"", b"qemu-kvm ", b"<domain>", b"qemu-kvm\0"):
        try:
            write_draft(import_data(prefix + data), source="x")
        except SevbuildError:
            continue


DOMAIN = """<domain type='kvm'>
  <name>snp guest</name>
  <memory unit='GB'>1</memory>
  <vcpu current='2'>4</vcpu>
  <os firmware='efi'><type>hvm</type><kernel>/k</kernel><initrd>/i</initrd><cmdline> a  b </cmdline><nvram>/v</nvram></os>
  <cpu mode='host-passthrough'/>
  <devices><disk type='file'/></devices>
  <launchSecurity type='sev-snp' kernelHashes='yes'><policy>0x30000</policy><cbitpos>51</cbitpos></launchSecurity>
</domain>"""


def test_a_libvirt_domain_becomes_a_manifest() -> None:
    draft = import_data(DOMAIN.encode())
    found = tables(draft)
    assert found["guest"]["name"] == "snp-guest"
    assert found["kernel"] == {"path": "/k", "cmdline": " a  b "}
    assert found["initrd"] == {"path": "/i"}
    assert found["vcpu"]["count"] == 2
    assert found["machine"]["memory"] == "954M"
    said = notes(draft)
    for note in (
        "libvirt chooses the firmware",
        "nvram",
        "disks, networks",
        "-cpu host-passthrough depends",
        "plugged later",
    ):
        assert note in said
    status = f"<domstatus>{DOMAIN}</domstatus>"
    assert tables(import_data(status.encode())) == found


def test_every_part_of_a_domain_is_read_or_named() -> None:
    text = """<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
      <vcpu>4</vcpu><vcpus><vcpu id='0' enabled='yes'/><vcpu id='1' enabled='no'/><vcpu id='2'/></vcpus>
      <os><type machine='pc-q35-9.0'>hvm</type><loader type='pflash' format='qcow2'>/a,b.qcow2</loader>
        <kernel>/k</kernel><shim>/s</shim><dtb>/d</dtb><igvm file='x'/></os>
      <cpu><model>EPYC</model><feature name='svm' policy='disable'/><feature name='x2apic'/><feature name='y' policy='optional'/></cpu>
      <launchSecurity type='sev' authorKey='no'><policy>0x5</policy><cbitpos/><vmsa>x</vmsa></launchSecurity>
      <qemu:commandline><qemu:env name='A'/><qemu:arg value='-S'/></qemu:commandline><qemu:override/>
    </domain>"""
    draft = import_data(text.encode())
    found = tables(draft)
    assert found["vcpu"] == {"count": 2, "model": "EPYC"}
    assert found["launch"]["mode"] == "sev-es"
    assert found["machine"]["extra-args"] == ["-S"]
    assert "flash /a,b.qcow2 is not measured as the file is, with qcow2" in notes(draft)
    for note in (
        "<igvm> of <os> is not read", "<vmsa> of <launchSecurity> is not read", "environment", "qemu:override of the domain",
        "may fall back to another CPU", "svm=off, x2apic=on", "-shim /s", "-dtb /d is not measured", "pc-q35-9.0",
        "author-key-enabled",
    ):  # fmt: skip
        assert note in notes(draft), note
    for cpu, name in (
        ("mode='host-model'", "host-model"),
        ("mode='maximum'", "maximum"),
        ("match='minimum'", "host-model"),
    ):
        other = import_data(text.replace("<cpu>", f"<cpu {cpu}>").encode())
        assert f"-cpu {name} depends on the host" in other.unknown["vcpu.model"][0]
    emulated = import_data(text.replace("type='kvm' ", "type='qemu' ").encode())
    assert "with accelerator qemu" in emulated.unknown["launch.mode"][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!DOCTYPE a [<!ENTITY b 'c'><!ENTITY d '&b;&b;&b;'>]><domain>&d;</domain>", "has a DTD"),
        ("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><domain/>", "has a DTD"),
        ("<a>" * 65 + "</a>" * 65, "nested deeper than 64"),
        ("<domain>", "not well-formed XML"),
        ("<domain>&b;</domain>", "not well-formed XML"),
        ("<network/>", "not a libvirt <domain>"),
        ("<domstatus/>", "not a libvirt <domain>"),
        ("<domain><memory unit='pages'>1</memory></domain>", "not a size"),
        ("<domain><launchSecurity type='tdx'/></domain>", "not a kind"),
        ("<?xml version='1.0' encoding='nonsense'?><domain/>", "XML"),
    ],
)
def test_a_document_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        import_data(text.encode())


_TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30)
_XML_TEXT = _TEXT.filter(
    lambda text: all(char in "\t\r\n" or (char >= " " and char not in "\ufffe\uffff") for char in text)
)


@st.composite
def launch_tables(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a guest that QEMU launches."""
    mode, profile = draw(
        st.sampled_from([("snp", "qemu"), ("sev", "qemu"), ("sev-es", "qemu"), ("sev-es", "qemu-es-init2")])
    )
    policies = {"sev": [0x1, 0x3], "sev-es": [0x5, 0x7], "snp": [0x30000, 0xB0000]}
    found: dict[str, Any] = {
        "launch": {"mode": mode, "profile": profile, "policy": draw(st.sampled_from(policies[mode]))},
        "vcpu": {
            "count": draw(st.integers(1, 64)),
            **draw(
                st.sampled_from(list(CPU_MODELS)).map(lambda name: {"model": name})
                | st.sampled_from([0xA00F11, 0x543, 0xB00F21]).map(
                    lambda number: {"model": None, "signature": number}
                )
            ),
        },
        "machine": {
            "memory": draw(st.sampled_from(["512M", "2G", "1536M"])),
            "cbitpos": draw(st.integers(0, 63)),
            "reduced-phys-bits": draw(st.integers(1, 63)),
            "extra-args": draw(
                st.sampled_from(
                    [[], ["-device", "virtio-9p-pci,b=c,,d"], ["-S", "-drive", "file='x'\n,if=none"]]
                )
            ),
        },
    }
    if mode == "snp" and draw(st.booleans()):
        found["launch"]["host-data"] = draw(st.binary(min_size=32, max_size=32)).hex()
    if draw(st.booleans()):
        cmdline = draw(_XML_TEXT).replace("{", "{{").replace("}", "}}")
        found["kernel"] = {"path": "vmlinuz", "cmdline": cmdline, "hashes": draw(st.booleans())}
        if draw(st.booleans()):
            found["initrd"] = {"path": "initrd.img"}
    return found


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(drawn=launch_tables())
def test_what_was_exported_imports_again(drawn: dict[str, Any]) -> None:
    """From each form of a launch command comes a manifest with that launch, and the same launch digest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        guest = launching_guest(folder, **drawn)
        launch = launch_of(guest)
        (measured,) = guest.measure()
        for data in (
            qemu_json(launch),
            shell_script(launch, here=True),
            "\0".join(["qemu-kvm", *qemu_arguments(launch)]).encode(),
            libvirt_xml(launch, folder=str(folder)),
        ):
            text = write_draft(import_data(data), source="x")
            again = Guest(decode_manifest(text, "again", directory=str(folder)))
            files = (
                {role: str(folder / path) for role, path in FILES.items()} if data.startswith(b"<") else FILES
            )
            assert qemu_arguments(launch_of(again, files)) == qemu_arguments(
                launch._replace(files={role: files[role] for role in launch.files})
            )
            (measured_again,) = again.measure()
            assert measured_again.digest == measured.digest


def _command(guest: RandomGuest, mode: str, vmm: str, folder: Path) -> list[str]:
    words = ["sev-snp-measure", "--mode", mode, "--vcpus", str(guest.vcpus), "--vmm-type", vmm]
    words += [
        "--vcpu-sig",
        hex(guest.signature),
        "--guest-features",
        hex(guest.features),
        f"--ovmf={folder}/OVMF.fd",
    ]
    if guest.kernel is not None:
        words += ["--kernel", f"{folder}/kernel", f"--append={guest.cmdline}"]
        if guest.initrd is not None:
            words += ["--initrd", f"{folder}/initrd"]
    return words


@settings(max_examples=40, deadline=None)
@given(
    guest=random_guests(),
    launch=st.sampled_from([("snp", "snp", "QEMU"), ("seves", "sev-es", "QEMU"), ("sev", "sev", "QEMU"), ("snp", "snp", "ec2"), ("snp", "snp", "gce")]),
)  # fmt: skip
def test_the_digest_is_that_of_the_measuring_command(
    guest: RandomGuest, launch: tuple[str, str, str]
) -> None:
    option, mode, vmm = launch
    # That tool takes signature 0 for none; only QEMU launches kernels.
    guest = guest._replace(signature=guest.signature or 1, kernel=guest.kernel if vmm == "QEMU" else None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "OVMF.fd").write_bytes(guest.firmware)
        has_initrd = guest.kernel is not None and guest.initrd is not None
        if guest.kernel is not None:
            (folder / "kernel").write_bytes(guest.kernel)
        if has_initrd:
            (folder / "initrd").write_bytes(guest.initrd or b"")
        expected = peer_digest(
            folder, mode, vmm=vmm, vcpus=guest.vcpus, signature=guest.signature, features=guest.features,
            kernel="kernel" if guest.kernel is not None else "", initrd="initrd" if has_initrd else "",
            append=guest.cmdline if guest.kernel is not None else "",
        )  # fmt: skip
        text = write_draft(import_words(_command(guest, option, vmm, folder)), source="x")
        (measured,) = Guest(decode_manifest(text, "imported", directory=str(folder))).measure()
        assert measured.digest.hex() == expected


def peer(*more: str) -> Draft:
    return import_words(["python3", "sev-snp-measure.py", *more])


def test_a_seed_in_place_of_the_firmware(tmp_path: Path) -> None:
    (tmp_path / "OVMF.fd").write_bytes(standard_firmware())
    common = ["--vcpus", "2", "--vcpu-type", "EPYC-v4", "--ovmf", str(tmp_path / "OVMF.fd")]
    whole = write_draft(peer("--mode", "snp", *common), source="x")
    guest = Guest(decode_manifest(whole, "whole"))
    seed = guest.seed(guest.targets[0]).hex()
    text = write_draft(peer("--mode", "snp", *common, "--snp-ovmf-hash", seed), source="x")
    assert tomli.loads(text)["firmware"]["seed"] == seed
    (a,), (b,) = guest.measure(), Guest(decode_manifest(text, "seed")).measure()
    assert a.digest == b.digest
    ovmf_hash = peer("--mode", "snp:ovmf-hash", "--ovmf", str(tmp_path / "OVMF.fd"))
    assert "plan --seed" in notes(ovmf_hash)
    again = Guest(decode_manifest(write_draft(ovmf_hash, source="x"), "hash"))
    assert again.seed(again.targets[0]).hex() == seed


def test_the_svsm_and_what_that_tool_does_not_say() -> None:
    for option, key in ((("--vars-size", "8192"), "vars-size"), (("--vars-file", "v"), "vars-path")):
        draft = peer("--mode=snp:svsm", "--vcpus=1", "--vcpu-type=EPYC", "--ovmf=o", "--svsm=s", "--kernel=k", *option,
                     "--guest-features", "0x21", "--dump-vmsa", "--output-format", "base64", "-v")  # fmt: skip
        found = tables(draft)
        assert found["launch"] == {"mode": "snp", "profile": "svsm-qemu"}
        assert found["svsm"]["path"] == "s"
        assert key in found["svsm"]
        for note in (
            "FPU control word",
            "ignores --kernel",
            "ignores --guest-features",
            "--dump-vmsa",
            "base64",
        ):
            assert note in notes(draft)
    sev = peer("--mode", "sev", "--ovmf", "o")
    assert tables(sev)["vcpu"] == {"count": 1, "model": "EPYC-v4"}
    assert notes(sev).count("it enters no digest of this mode") == 2
    assert not sev.unknown
    by_number = peer(
        "--mode=seves", "--vcpus=1", "--vcpu-family=25", "--vcpu-model=1", "--vcpu-stepping=1", "--ovmf=o"
    )
    assert tables(by_number)["vcpu"] == {"count": 1, "signature": 0xA00F11}
    assert tables(by_number)["launch"]["profile"] == "qemu-es-init2"
    ec2 = peer("--mode=snp", "--vcpus=1", "--vmm-type=ec2", "--ovmf=o")
    assert tables(ec2)["launch"]["profile"] == "ec2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ovmf=o"], "--mode"),
        (["--mode=snp"], "--ovmf"),
        (["--mode=snp", "--ovmf=o"], "missing --vcpus"),
        (["--mode=snp", "--ovmf=o", "--vcpus=1"], "missing --vcpu-type"),
        (["--mode=snp", "--ovmf=o", "--vcpus=0", "--vcpu-type=EPYC"], "vcpu.count"),
        (["--mode=snp", "--ovmf=o", "--vcpus=1", "--vcpu-family=25"], "needs --vcpu-model"),
        (["--mode=snp", "--ovmf=o", "--vcpus=1", "--vcpu-type=EPYC", "--append=x"], "--kernel required"),
        (["--mode=seves", "--ovmf=o", "--vcpus=1", "--vmm-type=ec2"], "does not launch sev-es"),
        (["--mode=snp", "--ovmf=o", "--vmm-type=EC2"], "invalid choice"),
        (["--mode=snp:svsm", "--ovmf=o", "--vcpus=1"], "requires --svsm"),
        (["--mode=snp:svsm", "--ovmf=o", "--svsm=s"], "requires --vars-size"),
        (["--mode=snp", "--nonsense"], "arguments"),
    ],
)
def test_a_measuring_command_that_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(SevbuildError, match=message):
        write_draft(peer(*words), source="x")


@pytest.mark.parametrize(
    ("command", "key", "why"),
    [
        ("--vcpus $N --vcpu-type EPYC", "vcpu.count", "$N: $N is not assigned"),
        ("--vcpus 1 --vcpu-type $T", "vcpu.model", "$T: $T is not"),
        ("--vcpus 1 --vcpu-sig $T", "vcpu.model", "the CPU's numbers are $T"),
        (
            "--vcpus 1 --vcpu-family $F --vcpu-model 1 --vcpu-stepping 1",
            "vcpu.model",
            "the CPU's numbers are $F",
        ),
        ("--vcpus 1 --vcpu-type EPYC --vmm-type $V", "launch.profile", "$V: $V is not"),
        ("--vcpus 1 --vcpu-type EPYC --guest-features $G", "launch.guest-features", "$G: $G is not"),
        ("--vcpus 1 --vcpu-type EPYC --kernel $K --append $A", "kernel.cmdline", "$A: $A is not"),
        ("--vcpus 1 --vcpu-type EPYC --snp-ovmf-hash $H --ovmf $O", "firmware.path", "--ovmf $O: $O is not"),
    ],
)
def test_a_measuring_command_in_a_script(command: str, key: str, why: str) -> None:
    draft = import_data(f"OVMF=o.fd\nsev-snp-measure --mode snp --ovmf $OVMF {command}\n".encode())
    assert why in draft.unknown[key][0]
    assert f"# {key.partition('.')[2]} = ... # UNKNOWN: " in write_draft(draft, source="x")
    with pytest.raises(SevbuildError, match="--mode "):
        import_data(b"sev-snp-measure --mode $MODE --ovmf x")


def test_what_is_wrong_is_said_with_its_line_and_as_it_is_written() -> None:
    for text, message in (
        ("qemu-kvm -smp x\n", "line 1: -smp cpus: not a number: 'x'"),
        ("\nqemu-kvm -$X", "line 2: -\\$X is the last argument"),
    ):
        with pytest.raises(SevbuildError, match=message):
            import_data(text.encode())


def test_an_error_of_a_command_names_its_line_and_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(words: list[str]) -> Draft:
        raise MismatchError(f"{words[-1]} differs", hint=f"leave {words[-1]} out", details=[words[-1]])

    monkeypatch.setattr(source, "read_qemu", refuse)
    with pytest.raises(MismatchError) as caught:
        import_data(b'# QEMU\nqemu-system-x86_64 -append "$LINE"\n')
    error = caught.value
    assert error.message == "line 2: $LINE differs"
    assert (error.hint, error.details, error.exit_code) == ("leave $LINE out", ("$LINE",), 1)
