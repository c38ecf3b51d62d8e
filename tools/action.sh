#!/usr/bin/env bash
# Run one verb for action.yml, held to what its inputs say: tools/action.sh VERB ARGUMENT... -- MANIFEST
#
# The inputs are in the environment. None of them opens a gate for want of a value: a variable that is not set reads as
# empty, and a word that is neither true nor false as neither.
set -euo pipefail

refuse() {
    printf '::error::%s\n' "$1" >&2
    exit 2
}

options=()

value() {
    case "$2" in
        "") refuse "the input $1 is empty: it takes a value, or none" ;;
        none) ;;
        *) options+=("--$1=$2") ;;
    esac
}

switch() {
    case "$2" in
        true) options+=("--$1") ;;
        false) ;;
        *) refuse "the input $1 is neither true nor false" ;;
    esac
}

while IFS= read -r setting; do
    if [ -n "$setting" ]; then options+=("--set=$setting"); fi
done <<<"$SEVBUILD_SET"
value expect "$SEVBUILD_EXPECT"
value lock "$SEVBUILD_LOCK"
switch locked "$SEVBUILD_LOCKED"
switch frozen "$SEVBUILD_FROZEN"
switch offline "$SEVBUILD_OFFLINE"

verb=$1
shift
exec "$RUNNER_TEMP/sevbuild/bin/sevbuild" "$verb" ${options[@]+"${options[@]}"} "$@"
