# Finds Python and makes the project's virtual environment, .venv.
# Sourced by the other scripts, from the root of the repository.

find_python() { # prints the command of a complete Python >= 3.11, of those named $* if any
  local name incomplete=""
  [ $# -gt 0 ] || set -- python3.13 python3.12 python3.11 python3 python
  # The versions that segexp is tested on come first: python3 may be newer than the pinned libraries.
  for name in "$@"; do
    "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$name"
      return
    fi
    incomplete=${incomplete:-$name}
  done
  if [ -n "$incomplete" ]; then
    echo "$incomplete cannot make environments: install its venv module" \
      "(Debian, Ubuntu: apt-get install $incomplete-venv), then run this again" >&2
  else
    echo "segexp needs Python 3.11 or newer, found $(python3 --version 2>/dev/null || echo none):" \
      "install one, then run this again" >&2
  fi
  return 2
}

installed() { # what an environment with the extras $1 was made from; a moved folder is a new one
  echo "$PWD $(cat pyproject.toml constraints.txt | cksum) $1"
}

make_environment() { # .venv with segexp and the extras $1: "" or "[test]"
  local stamp=.venv/segexp-installed python
  if grep -qsxF -- "$(installed "$1")" "$stamp"; then
    return
  fi
  # Without pip: interrupted while it was made.
  if ! .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(find_python)
    echo "making .venv with $("$python" --version)"
    "$python" -m venv .venv
  fi
  echo "installing segexp$1 and its libraries into .venv (the first time takes a few minutes)"
  rm -f "$stamp"
  .venv/bin/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".$1"
  if ! .venv/bin/python -c 'import lightgbm' 2>/dev/null; then
    echo "LightGBM does not load: it needs OpenMP (Debian, Ubuntu: apt-get install libgomp1;" \
      "macOS: brew install libomp)" >&2
    return 2
  fi
  # An environment with extras is also one without.
  printf '%s\n' "$(installed "")" "$(installed "$1")" >"$stamp"
}
