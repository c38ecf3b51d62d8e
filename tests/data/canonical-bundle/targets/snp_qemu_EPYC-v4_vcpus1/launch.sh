#!/bin/sh
# Launch test 1, target snp/qemu/EPYC-v4/vcpus1.
#
# Nothing below that is measured may change. What the host supplies are environment variables:
#   QEMU               the program, qemu-system-x86_64
#   MEMORY             the guest's memory, 2G
#   CBITPOS            the C-bit, CPUID 8000001F EBX 5:0, 51: 51 from Milan on, 47 before
#   REDUCED_PHYS_BITS  address bits that encryption takes, CPUID 8000001F EBX 11:6, 1
# Arguments of this script are passed on to QEMU, such as disks.
# Note: the digest is that of order canonical; QEMU launches in its own.
set -eu
cd -- "$(dirname -- "$0")"
exec "${QEMU:-qemu-system-x86_64}" \
    -machine q35,confidential-guest-support=sev0,memory-backend=ram0 \
    -accel kvm \
    -cpu EPYC-v4 \
    -smp 1 \
    -m "${MEMORY:-2G}" \
    -object memory-backend-memfd,id=ram0,size="${MEMORY:-2G}",share=true \
    -object sev-snp-guest,id=sev0,cbitpos="${CBITPOS:-51}",reduced-phys-bits="${REDUCED_PHYS_BITS:-1}",policy=0x30000 \
    -bios ../../inputs/firmware.fd \
    -nographic \
    -no-reboot \
    "$@"
