#!/usr/bin/env bash
# The whole suite on another Python, twice: with the pinned versions, and with
# the newest of everything that pip finds. Python 3.13 comes from Debian's trixie,
# which this puts in a folder (as root, with debootstrap and unshare):
#   bash launch/test_newest.sh [PYTEST ARGUMENTS]
#   SETS=newest bash launch/test_newest.sh -m "not slow"     one of the sets
#   TRIXIE=FOLDER bash launch/test_newest.sh                 where Debian lies
#   PYTHON=python3.13 bash launch/test_newest.sh             a Python that is here
# Each set ends with lines that say what ran; the status is 0 if all passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
sets="${SETS:-pinned newest}"

# What the requirement files pin, without the versions.
unpinned() {
  sed --quiet --regexp-extended 's/^([A-Za-z][^=]*)==[^;]*/\1/p' \
    requirements.txt requirements-test.txt
}

# suite SET [PYTEST ARGUMENTS]: installs a set in .cache/SET, runs the tests.
suite() {
  local set="$1" venv=".cache/$1" log=".cache/$1.log" status=0
  shift
  if [ ! -x "$venv/bin/pytest" ]; then
    "$PYTHON" -m venv --clear "$venv" || return
  fi
  local pip=("$venv/bin/python" -m pip install -q --disable-pip-version-check)
  if [ "$set" = newest ]; then
    unpinned > .cache/newest.txt
    "${pip[@]}" --upgrade --upgrade-strategy=eager -r .cache/newest.txt ||
      return
  else
    "${pip[@]}" -r requirements.lock || return
    "${pip[@]}" -r requirements-test.txt || return
  fi
  # A CUDA build of PyTorch brings it; its import crashes a process that has used
  # other libraries with LLVM inside. The tests use the CPU alone.
  "$venv/bin/python" -m pip uninstall -q -y triton 2> /dev/null || true
  "$venv/bin/python" -m pytest -q -n 2 --dist loadfile \
    --max-worker-restart=0 "$@" 2>&1 | tee "$log" || status=1
  echo "== $set set on $("$venv/bin/python" --version): pytest $*"
  "$venv/bin/python" -m pip list --format=freeze --disable-pip-version-check |
    grep --extended-regexp \
      '^(flax|jax|jaxlib|numpy|optax|orbax-checkpoint|tensorflow.*|torch)=='
  tail -n 1 "$log"
  return "$status"
}

# Makes Debian's trixie in a folder, with this checkout and pip's settings, and
# runs this script there.
in_trixie() {
  local root="$1" file folder
  shift
  if [ ! -x "$root/usr/bin/python3" ]; then
    debootstrap --variant=minbase --include=python3-venv,ca-certificates \
      trixie "$root" > /dev/null
  fi
  mkdir -p "$root/c3_jax"
  # What was deleted here must not be tested there; .cache stays.
  find "$root/c3_jax" -mindepth 1 -maxdepth 1 ! -name .cache \
    -exec rm -r {} +
  tar --create --exclude-vcs --exclude=./.venv --exclude=./.cache \
    --exclude=./runs . | tar --extract --directory="$root/c3_jax"
  for file in /etc/resolv.conf /etc/pip.conf /etc/xdg/pip "${PIP_CERT:-}"; do
    if [ -e "$file" ]; then
      mkdir -p "$root/$(dirname "$file")"
      cp -rL "$file" "$root/$(dirname "$file")"
    fi
  done
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  # Folders of packages that pip's settings name.
  for folder in $(python3 -m pip config list | grep -oE "/[^' ]+" |
    sed 's#^/*#/#' | sort -u); do
    if [ -d "$folder" ]; then
      mkdir -p "$root$folder"
      mount --rbind "$folder" "$root$folder"
    fi
  done
  chroot "$root" env HOME=/root PYTHON=python3 SETS="$sets" \
    bash /c3_jax/launch/test_newest.sh "$@"
}

if [ "${1:-}" = --in-trixie ]; then
  in_trixie "${@:2}"
elif [ -z "${PYTHON:-}" ]; then
  # The mounts are gone when this ends.
  exec unshare --mount bash launch/test_newest.sh --in-trixie \
    "${TRIXIE:-/var/tmp/c3_jax_trixie}" "$@"
else
  mkdir -p .cache
  failed=""
  for set in $sets; do
    suite "$set" "$@" || failed="$failed $set"
  done
  [ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
fi
