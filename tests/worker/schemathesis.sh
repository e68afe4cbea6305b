#!/usr/bin/env bash
# Holds a worker against assets/deploy/openapi.json with schemathesis: requests by the hundred that are as
# described or are not, and every answer must be as described. The number of requests is bounded, and they are
# the same each time.
# Usage: tests/worker/schemathesis.sh FOLDER_FOR_TOOLS PROGRAM
set -euo pipefail
tools=$1
program=$(realpath "$2")
cd "$(dirname "$0")/../.."

version=4.32.5
if ! [ "$("$tools/schemathesis/bin/schemathesis" --version 2>/dev/null)" = "schemathesis, version $version" ]; then
  rm -rf "$tools/schemathesis"
  python3 -m venv "$tools/schemathesis"
  "$tools/schemathesis/bin/pip" install -q --disable-pip-version-check "schemathesis==$version"
fi

place=$(mktemp -d "$tools/schemathesis-place.XXXXXX")
worker=""
trap '[ -n "$worker" ] && kill "$worker" 2>/dev/null; rm -rf "$place"' EXIT
mkdir -p "$place/sessions/u1/s1"
cp tests/fixtures/service-run/image.png tests/fixtures/service-run/mask.png "$place/sessions/u1/s1/"
token=correct-horse-battery-staple
FILL_AUDIT_TOKEN=$token XDG_CACHE_HOME="$place/cache" \
  "$program" serve --listen 127.0.0.1:0 --runs "$place/runs" --sessions "$place/sessions" \
  --models tests/fixtures/tiny-fill/bundle >"$place/out" 2>"$place/err" &
worker=$!
for _ in $(seq 300); do
  url=$(sed -n 's/^listening on //p' "$place/out")
  [ -n "$url" ] && break
  kill -0 "$worker" 2>/dev/null || break
  sleep 0.1
done
[ -n "$url" ] || { cat "$place/out" "$place/err" >&2; exit 1; }

# A run that has ended, so that what a run answers is seen too.
run='{"user_id": "u1", "session_id": "s1", "run_id": "r1", "inference": {"whole": {"long_side_px": 64}},
  "matrix": {"quants": ["Q4_0"], "guidances": [2], "steps": [1], "dilations": [2]},
  "recipe": {"threshold": 128, "min_component_px": 2, "close_px": 0, "open_px": 0, "dilate_px": 2,
    "max_coverage": 0.4, "feather_sigma_px": 1}}'
ask() { curl -sf -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "$@"; }
ask -o /dev/null "$url/audit" -d "$run"
for _ in $(seq 600); do
  state=$(ask "$url/audit/r1/status" | python3 -c 'import json, sys; print(json.load(sys.stdin)["state"])')
  case $state in queued | running) sleep 0.1 ;; *) break ;; esac
done
[ "$state" = done ] || { echo "the run is $state" >&2; exit 1; }

# Its name and its session stand in the description that is tried, so that a part of the requests is about
# them.
python3 - "$place/openapi.json" <<'PYTHON'
import json, sys

document = json.load(open("assets/deploy/openapi.json"))
examples = {"run_id": ["r1"], "file": ["Q4_0_gs2.png"]}
for path in document["paths"].values():
    for parameter in path.get("parameters", []):
        if parameter["name"] in examples:
            parameter["schema"]["examples"] = examples[parameter["name"]]
fields = document["components"]["schemas"]["AuditRequest"]["properties"]
fields["user_id"]["examples"] = ["u1"]
fields["session_id"]["examples"] = ["s1"]
json.dump(document, open(sys.argv[1], "w"))
PYTHON

cd "$place"
"$tools/schemathesis/bin/schemathesis" run openapi.json --url "$url" \
  --header "Authorization: Bearer $token" --checks all --phases examples,coverage,fuzzing \
  --max-examples 40 --generation-deterministic \
  --request-timeout 20 --no-color
kill -0 "$worker" || { echo "the worker has ended" >&2; exit 1; }
