#!/usr/bin/env bash
# Pull of 300 objects of 1 MB from the emulator, with verification, against parallel curl of the same objects.
# Usage: FILL_AUDIT_EMULATOR=http://127.0.0.4 tests/benches/pull.sh PATH_TO_FILL_AUDIT [ROUNDS]
# Prints the seconds of each round, the two taking turns, and the ratio of their medians. Goal: at most 1.2.
set -euo pipefail
program=$(realpath "$1")
rounds=${2:-5}
emulator=${FILL_AUDIT_EMULATOR:?start one with tests/setup/emulator.sh}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bucket=bench-$(date +%s).firebasestorage.app
export STORAGE_EMULATOR_HOST=$emulator FILL_AUDIT_BUCKET=$bucket

curl -sf -o /dev/null -H 'content-type: application/json' -d "{\"name\":\"$bucket\"}" \
  "$emulator/storage/v1/b?project=demo"
mkdir -p "$work/runs/bench"
for i in $(seq -w 300); do head -c 1000000 /dev/urandom >"$work/runs/bench/$i.png"; done
echo "# bench" >"$work/runs/bench/REPORT.md"
(cd "$work" && "$program" push runs/bench >/dev/null)
for i in $(seq -w 300); do
  printf 'url = "%s/storage/v1/b/%s/o/audit%%2Fbench%%2F%s.png?alt=media"\noutput = "%s/curl/%s.png"\n' \
    "$emulator" "$bucket" "$i" "$work" "$i"
done >"$work/urls"

now() { date +%s.%N; }
ours=() theirs=()
for _ in $(seq "$rounds"); do
  rm -rf "$work/curl" "$work/here" "$work/cache"; mkdir -p "$work/curl"; sync
  start=$(now); curl -s --parallel --parallel-max 6 -K "$work/urls"; end=$(now)
  theirs+=("$(echo "$end - $start" | bc)")
  sync
  start=$(now); (cd "$work" && FILL_AUDIT_CACHE=$work/cache "$program" pull bench --into here >/dev/null); end=$(now)
  ours+=("$(echo "$end - $start" | bc)")
  diff -r "$work/curl" "$work/here/bench" -x REPORT.md -x '.*' >/dev/null
done
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
echo "curl:       ${theirs[*]}"
echo "fill-audit: ${ours[*]}"
echo "ratio of medians: $(echo "scale=2; $(median "${ours[@]}") / $(median "${theirs[@]}")" | bc)"
