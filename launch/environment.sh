# Sourced by other scripts here: makes .venv in the current folder, and keeps
# it at the versions in the requirement files.

# Prints the first Python that will do; $PYTHON names another.
find_python() {
  local python
  for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    # Nothing was run on later ones (docs/platforms.md).
    # Debian's Python comes without ensurepip until python3-venv is installed.
    if "$python" -c 'import sys, venv, ensurepip
assert (3, 11) <= sys.version_info < (3, 14)' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  echo "error: no Python 3.11 to 3.13 with venv found: install one (on Debian with" \
    "python3-venv), or name one: PYTHON=/path/to/python3 bash $0" >&2
  return 2
}

# install FILE..: installs requirement files, unless .venv has all of them.
install() {
  local python file installed=.venv/installed missing=""
  if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    python="$(find_python)"
    echo "Making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
  fi
  for file in "$@"; do
    cmp -s "$file" "$installed/$file" || missing="$missing $file"
  done
  if [ -n "$missing" ]; then
    echo "Installing$missing into .venv (minutes the first time)"
    # What one file installs can change what another did.
    rm -rf "$installed"
    for file in "$@"; do
      # One by one: pip asks for hashes of all that stands beside a lock file.
      .venv/bin/python -m pip install -qq --disable-pip-version-check \
        --requirement="$file"
    done
    mkdir "$installed"
    cp "$@" "$installed"
  fi
}
