#!/bin/sh
# Creates .venv with a supported Python and installs what requirements.txt pins. Does nothing when nothing has changed
# since the last time, unless called with --again.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/installed
supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
pins=$(cat requirements.txt deploy/cuda-constraints.txt | cksum)

stop() {
  printf '\n%s\n' "$1" >&2
  exit 1
}

# A copied or moved environment, or one whose Python was removed, cannot start: make it anew.
if ! "$venv/bin/python" -c "$supported" >/dev/null 2>&1; then
  python=
  for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c "$supported" >/dev/null 2>&1; then
      python=$candidate
      break
    fi
  done
  [ -n "$python" ] || stop "Gatehouse needs Python 3.11, 3.12 or 3.13 and found none; install one, or name it: make run PYTHON=/path/to/python3.12"
  free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024) }')
  [ "$free" -ge 4000 ] || stop "Installing needs about 4 GB free in this folder and there are only $free MB; free some space and run make install again."
  printf 'Creating %s with %s\n' "$venv" "$("$python" --version)"
  "$python" -m venv --clear "$venv" ||
    stop "$python could not create a virtual environment (see above); on Debian and Ubuntu this needs the package python3-venv."
fi

if [ "${1:-}" != --again ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$pins" ]; then
  exit 0
fi

printf 'Installing the packages that requirements.txt pins; the first time this takes a few minutes.\n'
rm -f "$stamp"
{
  "$venv/bin/python" -m pip install --disable-pip-version-check --only-binary :all: \
    --constraint deploy/cuda-constraints.txt --requirement requirements.txt &&
    printf '%s\n' "$pins" >"$stamp"
} | awk '!/^Requirement already satisfied/ { print; fflush() }'
[ -f "$stamp" ] ||
  stop "Some packages could not be installed: pip says above which one and why; check the network or pip's index settings, then run make install."
