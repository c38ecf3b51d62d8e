#!/bin/sh
# Check the launch measurement of owner 2 with virt-qemu-sev-validate.
# Usage: VARIABLE=VALUE... sh THIS LABEL
#   API_MAJOR, API_MINOR, BUILD_ID: of the host's firmware (query-sev)
#   TIK, TEK: the files with your session's transport keys
#   MEASUREMENT: what the host reports, base64 of 48 bytes (virsh domlaunchsecinfo)
#   FILES: the folder with the guest's files; the current one where it is not set
set -eu
case "${1-}" in
sev/qemu/EPYC-Rome/vcpus1)
    set -- --policy 1 --firmware "${FILES:-.}"/OVMF.fd --kernel "${FILES:-.}"/kernel --initrd "${FILES:-.}"/initrd --cmdline='console=ttyS0 it'"'"'s quiet'
    ;;
sev/qemu/EPYC-Rome/vcpus3)
    set -- --policy 1 --firmware "${FILES:-.}"/OVMF.fd --kernel "${FILES:-.}"/kernel --initrd "${FILES:-.}"/initrd --cmdline='console=ttyS0 it'"'"'s quiet'
    ;;
sev-es/qemu/EPYC-Rome/vcpus1)
    set -- --policy 5 --firmware "${FILES:-.}"/OVMF.fd --kernel "${FILES:-.}"/kernel --initrd "${FILES:-.}"/initrd --cmdline='console=ttyS0 it'"'"'s quiet' --num-cpus 1 --cpu-family 23 --cpu-model 49 --cpu-stepping 0
    ;;
sev-es/qemu/EPYC-Rome/vcpus3)
    set -- --policy 5 --firmware "${FILES:-.}"/OVMF.fd --kernel "${FILES:-.}"/kernel --initrd "${FILES:-.}"/initrd --cmdline='console=ttyS0 it'"'"'s quiet' --num-cpus 3 --cpu-family 23 --cpu-model 49 --cpu-stepping 0
    ;;
*)
    echo "no target of this guest: ${1-}; the labels are:" >&2
    echo '  sev/qemu/EPYC-Rome/vcpus1' >&2
    echo '  sev/qemu/EPYC-Rome/vcpus3' >&2
    echo '  sev-es/qemu/EPYC-Rome/vcpus1' >&2
    echo '  sev-es/qemu/EPYC-Rome/vcpus3' >&2
    exit 2
    ;;
esac
exec virt-qemu-sev-validate --api-major "$API_MAJOR" --api-minor "$API_MINOR" --build-id "$BUILD_ID" \
    --tik "$TIK" --tek "$TEK" --measurement "$MEASUREMENT" "$@"
