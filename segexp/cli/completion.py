"""Shell completion: words, groups, options, keys and run directories.

The scripts call ``segexp _complete WORD...`` with the words typed so far, the last of which is
being completed. Nothing of the scientific stack is imported on the way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from segexp.errors import ConfigError, SegexpError, did_you_mean

COMMANDS = (
    "run", "sweep", "plan", "resume", "rerun", "config", "options", "ls", "show", "compare", "diff",
    "report", "predict", "migrate", "data", "completion",
)  # fmt: skip
_COMPOSING = ("run", "sweep", "plan", "config")
_COMPARING = {  # what the options are called
    "compare": (
        "--metric", "--baseline", "--all", "--alpha", "--rope", "--csv", "--md", "--latex",
        "--json", "--html", "--force", "--help",
    ),
    "diff": ("--metric", "--all", "--rope", "--png", "--svg", "--force", "--help"),
}  # fmt: skip

_BASH = r"""# segexp completion for bash: eval "$(segexp completion bash)"
_segexp() {
    local line="${COMP_LINE:0:COMP_POINT}" IFS=$' \t\n'
    local -a words
    read -ra words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    local cur="${words[${#words[@]}-1]}"
    IFS=$'\n'
    COMPREPLY=($("${words[0]}" _complete "${words[@]:1}" 2>/dev/null))
    # Readline breaks words at "=" and ":" and wants only what comes after the last one.
    if [[ "$cur" == *[=:]* && "$COMP_WORDBREAKS" == *=* ]]; then
        local prefix="${cur%"${cur##*[=:]}"}"
        COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
    fi
    # A key or a folder goes on; no blank after it.
    [[ "${COMPREPLY[0]}" == *[=./] ]] && compopt -o nospace
}
complete -F _segexp segexp
"""

_ZSH = r"""#compdef segexp
# segexp completion for zsh: eval "$(segexp completion zsh)"
_segexp() {
    local -a found going ended
    found=("${(@f)$("${words[1]}" _complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    going=(${(M)found:#*[=./]})
    ended=(${found:#*[=./]})
    (( ${#going} )) && compadd -Q -S '' -- $going
    (( ${#ended} )) && compadd -Q -- $ended
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _segexp segexp
"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH}


def execute(shell: str) -> int:
    """Print the completion script of a shell."""
    if shell not in _SCRIPTS:
        raise ConfigError(
            f"completion is there for {' and '.join(_SCRIPTS)}, not for {shell!r}"
            f"{did_you_mean(shell, _SCRIPTS)}"
        )
    sys.stdout.write(_SCRIPTS[shell])
    return 0


def complete(words: Sequence[str]) -> list[str]:
    """Return what the last of ``words`` can become; empty where there is nothing to say.

    Examples
    --------
    >>> complete(["op"])
    ['options']
    >>> complete(["run", "evalu"])
    ['evaluation=', 'evaluation.']
    """
    before, current = list(words[:-1]), words[-1] if words else ""
    try:
        return [word for word in _candidates(before, current) if word.startswith(current)]
    except (SegexpError, OSError):
        return []  # a key press is no place for an error; the command itself will tell


def _candidates(before: Sequence[str], current: str) -> Iterable[str]:
    if not before:
        return COMMANDS
    command, rest = before[0], before[1:]
    if rest[-1:] == ["--config-dir"]:
        return _folders(current)
    if command in _COMPOSING:
        return _words(rest, current)
    if command == "data":
        return _data(rest)
    if command == "options" and not rest:
        from segexp.config.schema import GROUPS

        return GROUPS
    if command == "completion" and not rest:
        return _SCRIPTS
    if command in _COMPARING:
        return _comparing(command, rest, current)
    if command == "report":
        return _runs(current)
    if command in ("show", "resume", "rerun", "predict", "migrate") and not rest:
        return _runs(current)
    if command in ("predict", "migrate"):
        return _paths(current)
    if command == "ls" and not rest:
        return _folders(current)
    return ()


def _comparing(command: str, rest: Sequence[str], current: str) -> Iterable[str]:
    option = rest[-1] if rest else ""
    if option == "--metric":
        return _metric_names()
    if option in ("--alpha", "--rope"):
        return ()
    if option in ("--html", "--png", "--svg"):
        return _paths(current)
    return _COMPARING[command] if current.startswith("-") else _runs(current)


def _metric_names() -> list[str]:
    from segexp.metrics import METRICS_OF

    return [metric.name for metrics in METRICS_OF.values() for metric in metrics]


def _data(rest: Sequence[str]) -> Iterable[str]:
    from segexp.config.options import list_options

    if not rest:
        return ("ls", "fetch")
    return list_options("dataset", _conf_dirs(rest)) if rest[0] == "fetch" else ()


def _conf_dirs(words: Sequence[str]) -> tuple[Path, ...]:
    from segexp.config.options import find_conf_dirs

    given = [b for a, b in pairwise(words) if a == "--config-dir"]
    return find_conf_dirs(given[-1] if given else None)


def _words(rest: Sequence[str], current: str) -> list[str]:
    if current.startswith("-"):
        return ["--config-dir", "--help"]
    conf_dirs = _conf_dirs(rest)
    if "=" in current:
        return _values(current, rest, conf_dirs)
    return _keys(current, rest, conf_dirs)


def _values(current: str, rest: Sequence[str], conf_dirs: Sequence[Path]) -> list[str]:
    from segexp.config.options import list_options
    from segexp.config.schema import ANSWERS, GROUPS, KINDS, LOG_ANSWERS, PROTOCOLS, READERS

    key, _, value = current.partition("=")
    said = value.rpartition(",")[0]  # `model=svm,kn` completes the part after the comma
    start = f"{key}={said}," if said else f"{key}="
    if key.lstrip("+") in GROUPS:
        known: Iterable[str] = list_options(key.lstrip("+"), conf_dirs)
    elif key == "evaluation.metric":
        known = _metric_names()
    else:
        known = {
            **{f"dataset.{name}": answers for name, answers in ANSWERS.items()},
            **{f"dataset.transactions.{name}": known for name, known in LOG_ANSWERS.items()},
            "dataset.kind": KINDS,
            "dataset.reader": READERS,
            "evaluation.protocol": PROTOCOLS,
            "evaluation.final_model": ("true", "false"),
        }.get(key, ())
    return [f"{start}{name}" for name in known if name not in said.split(",")]


def _keys(current: str, rest: Sequence[str], conf_dirs: Sequence[Path]) -> list[str]:
    from segexp.config.options import list_keys
    from segexp.config.schema import GROUPS

    sign = current[: len(current) - len(current.lstrip("+~"))]
    typed = current[len(sign) :]
    said = [word.partition("=") for word in rest]
    choices = {group: option for group, _, option in said if group in GROUPS}
    found = [f"{sign}{group}=" for group in GROUPS if sign != "~"]
    # One level at a time, like folders; `~key` takes no value.
    end = "" if sign == "~" else "="
    for key in list_keys(choices, conf_dirs):
        if key.startswith(typed):
            more = key[len(typed) :]
            dot = more.find(".")
            found.append(f"{sign}{typed}{more[: dot + 1]}" if dot >= 0 else f"{sign}{key}{end}")
    return list(dict.fromkeys(found))


def _folders(current: str) -> list[str]:
    start = current[: current.rfind("/") + 1]
    names = sorted(path.name for path in Path(start or ".").iterdir() if path.is_dir())
    return [f"{start}{name}/" for name in names if not name.startswith(".")]


def _paths(current: str) -> list[str]:
    """Offer folders and the files in them."""
    start = current[: current.rfind("/") + 1]
    names = sorted(path.name for path in Path(start or ".").iterdir() if path.is_file())
    return [*_folders(current), *(f"{start}{name}" for name in names if not name.startswith("."))]


def _runs(current: str) -> list[str]:
    """Offer folders on the way and run directories at the end."""
    from segexp.runs import MANIFEST

    # A sweep is one itself and on the way to its runs.
    return [
        folder.rstrip("/") if (Path(folder) / MANIFEST).is_file() else folder
        for folder in _folders(current)
    ]
