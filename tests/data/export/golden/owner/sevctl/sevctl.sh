#!/bin/sh
# Check the launch measurement of owner 2 with sevctl.
# Usage: VARIABLE=VALUE... sh THIS LABEL
#   API_MAJOR, API_MINOR, BUILD_ID: of the host's firmware (query-sev)
#   TIK: the file with your session's transport integrity key
#   MEASUREMENT: what the host reports, base64 of 48 bytes (query-sev-launch-measure)
set -eu
case "${1-}" in
sev/qemu/EPYC-Rome/vcpus1)
    set -- --policy 0x1 --launch-digest 8T0lte17X6nqfk9ZJMdFuIWnvfhv+EPADnHNi7rwC20=
    ;;
sev/qemu/EPYC-Rome/vcpus3)
    set -- --policy 0x1 --launch-digest 8T0lte17X6nqfk9ZJMdFuIWnvfhv+EPADnHNi7rwC20=
    ;;
sev-es/qemu/EPYC-Rome/vcpus1)
    set -- --policy 0x5 --launch-digest cayCT4IiUIDRlsnDggCVUsIYu2yY67mWjwyu1ymEjCI=
    ;;
sev-es/qemu/EPYC-Rome/vcpus3)
    set -- --policy 0x5 --launch-digest grWxLjXWpaqbFgozAp8cwN6EOUYQS+oASLQtsIzzSR4=
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
expected=$(sevctl measurement build --api-major "$API_MAJOR" --api-minor "$API_MINOR" \
    --build-id "$BUILD_ID" --tik "$TIK" --launch-measure-blob "$MEASUREMENT" "$@")
if [ "$expected" = "$MEASUREMENT" ]; then echo "the measurement is right"; exit 0; fi
echo "the measurement is wrong: expected $expected" >&2
exit 1
