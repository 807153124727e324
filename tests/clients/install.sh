#!/usr/bin/env bash
# Installs the Python packages that the tests in this folder run, in the versions of requirements.txt, into
# .cache/clients. Does nothing when they are there.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
target=$(cd "$here/../.." && pwd)/.cache/clients
if cmp -s "$here/requirements.txt" "$target/installed"; then exit 0; fi
rm -rf "$target"
python3 -m venv "$target"
"$target/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
cp "$here/requirements.txt" "$target/installed"
