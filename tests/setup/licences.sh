#!/usr/bin/env bash
# Fails if a dependency's licence does not allow a program under MIT OR Apache-2.0 to be shipped.
set -euo pipefail
cargo metadata --format-version 1 --locked | python3 -c '
import json, re, sys

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause",
    "BSL-1.0", "CC0-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "NCSA", "OFL-1.1", "OpenSSL",
    "Ubuntu-font-1.0", "Unicode-3.0", "Unicode-DFS-2016", "Unlicense", "WTFPL", "Zlib", "bzip2-1.0.6",
}

def is_allowed(expression):
    expression = re.sub(r"\s*/\s*", " OR ", expression)
    # Every AND-part needs one OR-alternative that is allowed; parentheses are expanded by hand below.
    tokens = re.findall(r"\(|\)|\bAND\b|\bOR\b|[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.-]+)?", expression)
    position = 0
    def atom():
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "(":
            value = either()
            position += 1
            return value
        return token in ALLOWED
    def both():
        nonlocal position
        value = atom()
        while position < len(tokens) and tokens[position] == "AND":
            position += 1
            value = atom() and value
        return value
    def either():
        nonlocal position
        value = both()
        while position < len(tokens) and tokens[position] == "OR":
            position += 1
            value = both() or value
        return value
    return either()

packages = json.load(sys.stdin)["packages"]
refused = []
for package in packages:
    licence = package["license"]
    if licence is None and package["license_file"] is None:
        refused.append((package["name"], "no licence"))
    elif licence is not None and not is_allowed(licence):
        refused.append((package["name"], licence))
for name, licence in refused:
    print(f"licence not allowed: {name}: {licence}", file=sys.stderr)
print(f"{len(packages)} packages, {len(refused)} refused")
sys.exit(bool(refused))
'
