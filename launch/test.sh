#!/usr/bin/env bash
# Lint and the whole test suite, on a bare machine with Python 3.11 to 3.13:
#   bash launch/test.sh [PYTEST ARGUMENTS]
#   bash launch/test.sh -m "not slow"      the fast lane
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source launch/environment.sh

install requirements.lock requirements-test.txt
.venv/bin/ruff check
.venv/bin/ruff format --check
# tests/conftest.py puts the files in order.
.venv/bin/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder \
  --max-worker-restart=0 "$@"
