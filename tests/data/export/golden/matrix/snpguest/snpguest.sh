#!/bin/sh
# Verify an attestation report of matrix 1.0 <beta> & more with snpguest 0.11, and name its target.
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
if verify --measurement 0x3b780c9b567ca7475ab04c023d730e274a4033e0b2642ab8bee587e7bf00fa9aa29fb99ee1f2eac3af2f44051301aee4 >/dev/null 2>&1; then
    printf '%s\n' 'matrix 1.0 <beta> & more, snp/qemu/EPYC-v4/vcpus1/plain'
    exit 0
fi
if verify --measurement 0x82a9b4d722a7d58c03dca7e32ab4d7fb010c9fff609cf2b6816c4216b2511a9de3d2198ddc6d579f533fba75c0ccc650 >/dev/null 2>&1; then
    printf '%s\n' 'matrix 1.0 <beta> & more, snp/qemu/EPYC-v4/vcpus1/smp'
    exit 0
fi
if verify --measurement 0xbcc61c5068c6e169334f1f09681088118ef61995f6c0ca11a7ce087a301809f0c7790f88f341512a54549bccec7385d5 >/dev/null 2>&1; then
    printf '%s\n' 'matrix 1.0 <beta> & more, snp/qemu/EPYC-v4/vcpus2/plain'
    exit 0
fi
if verify --measurement 0x126749e569199825d3d20cccfb747b6f66bfe534b92e8ce2bdac4968c78ee7812f162485b71858df72fa0bd6bf42d0c4 >/dev/null 2>&1; then
    printf '%s\n' 'matrix 1.0 <beta> & more, snp/qemu/EPYC-v4/vcpus2/smp'
    exit 0
fi
if verify --measurement 0xc0bd1f178c4ddd5dbfb1b8cb845b5f8c3549a94e831454dd56eef006213bed98b363c7c277cfa39ac749c0f1d8ddb650 >/dev/null 2>&1; then
    printf '%s\n' 'matrix 1.0 <beta> & more, snp/qemu/EPYC-Milan/vcpus1/plain'
    exit 0
fi
if verify --measurement 0xf1bf4537b611319f3d6e18c1314003fe50e19bbf9ae7dcd0e11b25a9eee7da9caa74a0f82a323d088c06735e5c1732fd >/dev/null 2>&1; then
    printf '%s\n' 'matrix 1.0 <beta> & more, snp/qemu/EPYC-Milan/vcpus1/smp'
    exit 0
fi
if verify --measurement 0xb4c79deb006b1671a168a1208af114d3a686a061ac3060cb41cf0e42bb2756d2ac7a7bb485234417631be9dfc18c9948 >/dev/null 2>&1; then
    printf '%s\n' 'matrix 1.0 <beta> & more, snp/qemu/EPYC-Milan/vcpus2/plain'
    exit 0
fi
if verify --measurement 0xb70c6daa92235331380e1a33087502fc17aa50b168a0586d706feb7bf6b07449d1cbe35fc34069db86d4b942fc6adb99 >/dev/null 2>&1; then
    printf '%s\n' 'matrix 1.0 <beta> & more, snp/qemu/EPYC-Milan/vcpus2/smp'
    exit 0
fi
echo "signed, but of none of these targets:" >&2
verify --measurement 0x3b780c9b567ca7475ab04c023d730e274a4033e0b2642ab8bee587e7bf00fa9aa29fb99ee1f2eac3af2f44051301aee4 >&2 || true
exit 1
