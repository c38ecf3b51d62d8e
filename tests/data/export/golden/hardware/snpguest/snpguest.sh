#!/bin/sh
# Verify an attestation report of dstack 1 with snpguest 0.11, and name its target.
# Usage: sh THIS CERTIFICATES REPORT [MODEL]
#   CERTIFICATES: a folder with ark.pem, ask.pem or asvk.pem, and vcek.pem or vlek.pem
#   MODEL: milan, genoa, bergamo, siena or turin, of a version 2 report alone
# Exit 0: verified; 1: not; 2: called otherwise.
set -eu
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
certificates=$1
report=$2
model=${3-}

verify() {
    snpguest verify attestation ${model:+--processor-model "$model"} "$@" "$certificates" "$report"
}

snpguest verify certs "$certificates" || exit 1
verify || exit 1
if verify --measurement 0x7f51e17f72a04d5422cb2c00998166536019a217376f3aa45a630e59c805a599847ff250dbffcd07e1ba639771d6f05d >/dev/null 2>&1; then
    printf '%s\n' 'dstack 1, snp/qemu/EPYC-v4/vcpus2'
    exit 0
fi
echo "signed, but of none of these targets:" >&2
verify --measurement 0x7f51e17f72a04d5422cb2c00998166536019a217376f3aa45a630e59c805a599847ff250dbffcd07e1ba639771d6f05d >&2 || true
exit 1
