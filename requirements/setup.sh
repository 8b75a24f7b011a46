#!/usr/bin/env bash
# Make .venv with everything in it; safe to run again, and quick when nothing has changed.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
TORCH=2.13.0

die() { printf 'toadstone: %s\n' "$1" >&2; exit 1; }

command -v "$PYTHON" >/dev/null || die "no $PYTHON here; install Python 3.11 or newer, or set PYTHON=..."
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  die "$("$PYTHON" --version) is too old; Python 3.11 or newer is needed, or set PYTHON=..."
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
  die "Python's venv module is missing; on Debian or Ubuntu: sudo apt install python3-venv"

[ -x .venv/bin/python ] || { rm -rf .venv; "$PYTHON" -m venv .venv; }
export PIP_DISABLE_PIP_VERSION_CHECK=1

# uv is many times faster at the long list; without it pip does the same, only slower.
if command -v uv >/dev/null; then
  uv=uv
elif .venv/bin/python -m pip install --quiet uv 2>/dev/null; then
  uv=.venv/bin/uv
else
  uv=
fi

# torch first. Without a GPU pip is asked for the plain release, for which it may know a CPU build;
# with one, torch comes with its usual GPU build like everything else.
if ! .venv/bin/python -c 'import torch' 2>/dev/null && ! command -v nvidia-smi >/dev/null; then
  echo "toadstone: installing torch $TORCH for the CPU"
  .venv/bin/python -m pip install --quiet "torch==$TORCH"
fi

echo "toadstone: installing the pinned dependencies"
wanted=(-c requirements/constraints.txt -e '.[all,dev]')
if [ -z "$uv" ] || ! "$uv" pip install --quiet --python .venv/bin/python "${wanted[@]}"; then
  .venv/bin/python -m pip install --quiet "${wanted[@]}"
fi
date > .venv/.ready
