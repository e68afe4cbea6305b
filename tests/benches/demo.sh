#!/usr/bin/env bash
# The whole demo without a display, as a fresh machine makes it: nothing in its cache, an empty folder each time.
# Usage: tests/benches/demo.sh PATH_TO_FILL_AUDIT [ROUNDS]; before it, `taskset -c 0,1` where there are more cores.
# Prints wall and CPU seconds of each round and their medians. Goal: under 60 s of wall time on two cores.
set -euo pipefail
program=$(realpath "$1")
rounds=${2:-3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset DISPLAY WAYLAND_DISPLAY WAYLAND_SOCKET HF_HOME HF_HUB_CACHE XDG_CACHE_HOME FILL_AUDIT_MODELS FILL_AUDIT_EMBEDDINGS

demo() { cd "$home" && HOME=$home "$program" demo >out 2>err; }
TIMEFORMAT='%R %U %S'
wall=() cpu=()
for round in $(seq "$rounds"); do
  home=$work/$round; mkdir "$home"
  { time (demo); } 2>"$work/time" || { cat "$home/err" >&2; exit 1; }
  made=$(find "$home/runs" -name '*.fill.png' | wc -l)
  sheets=$(find "$home/runs" -name contact_sheet.png | wc -l)
  [ "$made $sheets" = "9 1" ] || { echo "not all was made: $made cells, $sheets contact sheets" >&2; exit 1; }
  read -r real user sys <"$work/time"
  wall+=("$real") cpu+=("$(echo "$user + $sys" | bc)")
done
median() { printf '%s\n' "$@" | sort -n | sed -n "$((($# + 1) / 2))p"; }
echo "on $(nproc) cores"
echo "wall seconds: ${wall[*]}; median $(median "${wall[@]}")"
echo "CPU seconds:  ${cpu[*]}; median $(median "${cpu[@]}")"
