#!/usr/bin/env bash
# Fails if the logs of the tests' processes hold a piece of the test key, a token (of Google, of a worker, for a
# service) or a signature, or if there are no such logs.
# Usage: tests/setup/leaks.sh FOLDER
set -euo pipefail
logs=$1
key=$(dirname "$0")/../fixtures/signing/key.json

if ! grep -rqs 'TRACE' "$logs"; then
  echo "no process has logged every level into $logs" >&2
  exit 1
fi
secrets=$(python3 - "$key" <<'PYTHON'
import json, sys

pem = json.load(open(sys.argv[1]))["private_key"]
pieces = [line[:32] for line in pem.splitlines() if len(line) == 64]
assert len(pieces) > 20, "the test key has not the expected form"
# The token of the tests' workers, and the beginning and the end of the ID tokens that the tests' fakes give.
tokens = ["correct-horse", "e30.ey", ".c2ln"]
print("\n".join(["X-Goog-Signature=", "X-Goog-Credential=", "begin private key", "bearer ey", "ya29.", *tokens, *pieces]))
PYTHON
)
found=$(grep -rFic -f <(printf '%s\n' "$secrets") "$logs" | grep -v ':0$' || true)
if [ -n "$found" ]; then
  echo "secrets were logged (file, lines):" >&2
  echo "$found" >&2
  exit 1
fi
echo "$(find "$logs" -type f | wc -l) logs of $(du -sm "$logs" | cut -f1) MB hold no secret"
