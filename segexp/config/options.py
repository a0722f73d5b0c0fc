"""Which options there are: folders of YAML files, read without composing anything.

Completion and ``segexp options`` answer from here, so this module imports only YAML.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from segexp.bounds import LOADER, TooLargeError, yaml_too_large
from segexp.config.schema import GROUPS, TASKS
from segexp.errors import ConfigError, did_you_mean

# conf/segexp.yaml: the defaults list and every key. Not `config`, which other Hydra projects have
# in their own conf/ and would shadow it.
PRIMARY = "segexp"


def shipped_conf() -> Path:
    """Return the folder of the shipped options: inside the wheel, or beside the package."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def find_conf_dirs(config_dir: str | None = None) -> tuple[Path, ...]:
    """Folders of options, the first of which wins: ``config_dir``, ``./conf``, the shipped one.

    Raises
    ------
    ConfigError
        If ``config_dir`` is given and is not a folder.
    """
    shipped = shipped_conf()
    found: list[Path] = []
    if config_dir is not None:
        given = Path(config_dir).expanduser()
        if not given.is_dir():
            raise ConfigError(
                f"--config-dir {config_dir}: there is no such folder; it should hold folders "
                f"such as model/ and dataset/"
            )
        found.append(given.resolve())
    local = Path("conf")
    if local.is_dir():
        found.append(local.resolve())
    for directory in found:
        if directory != shipped and (directory / f"{PRIMARY}.yaml").exists():
            raise ConfigError(
                f"{directory / PRIMARY}.yaml would replace every default; keep options in "
                f"{directory.name}/GROUP/NAME.yaml, and presets in {directory.name}/experiment/"
            )
    return tuple(dict.fromkeys([*found, shipped]))


def list_options(group: str, conf_dirs: Sequence[Path]) -> dict[str, Path]:
    """Return option name -> YAML file of ``group``, sorted by name; the first folder wins."""
    options: dict[str, Path] = {}
    for directory in conf_dirs:
        for path in sorted((directory / group).glob("*.yaml")):
            if path.is_file():
                options.setdefault(path.stem, path)
    return dict(sorted(options.items()))


def list_models(task: str, conf_dirs: Sequence[Path]) -> dict[str, Path]:
    """Return the models of one task, ``classification`` or ``clustering``, sorted by name."""
    found = list_options("model", conf_dirs)
    return {n: p for n, p in found.items() if read_yaml(p).get("task", TASKS[0]) == task}


def find_option(group: str, name: str, conf_dirs: Sequence[Path]) -> Path:
    """Return the YAML file of an option.

    Raises
    ------
    ConfigError
        If there is no such option; names the nearest one and all there are.
    """
    options = list_options(group, conf_dirs)
    if name not in options:
        known = ", ".join(options) or "none yet"
        raise ConfigError(
            f"{group}={name}: there is no such option{did_you_mean(name, options)}; "
            f"{group} options: {known}"
        )
    return options[name]


def find_group(name: str) -> str:
    """Return ``name`` if it is a config group, or raise ``ConfigError`` naming the nearest."""
    if name not in GROUPS:
        raise ConfigError(
            f"there is no config group {name!r}{did_you_mean(name, GROUPS)}; "
            f"groups: {', '.join(GROUPS)}"
        )
    return name


def describe_option(path: Path) -> str:
    """Return the comment that opens an option's file (after a ``# @package`` line), or ``""``."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            return line.lstrip("# ").strip()
    return ""


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises
    ------
    ConfigError
        If the file is not YAML, is too large, or holds something else than a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if reason := yaml_too_large(text):
            raise TooLargeError(f"{path} is not read: {reason}")
        content = yaml.load(text, Loader=LOADER)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {one_line(error)}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a mapping, got {type(content).__name__}")
    return content


def one_line(error: object) -> str:
    """Return the message of an error with all white space folded."""
    return " ".join(str(error).split())


def list_keys(choices: dict[str, str], conf_dirs: Sequence[Path]) -> list[str]:
    """Return every dotted key that can be overridden, given the chosen option of each group."""
    primary = read_yaml(conf_dirs[-1] / f"{PRIMARY}.yaml")
    defaults = {
        group: option
        for entry in primary.get("defaults", [])
        if isinstance(entry, dict)
        for group, option in entry.items()
    }
    sections = {key: value for key, value in primary.items() if key != "defaults"}
    for group, section in sections.items():
        option = choices.get(group, defaults.get(group))
        path = list_options(group, conf_dirs).get(str(option))
        if path is not None:
            _merge(section, read_yaml(path))
    return sorted(set(_dotted(sections, "")))


def _merge(section: dict[str, Any], option: dict[str, Any]) -> None:
    """Put an option over its section, as Hydra does."""
    for key, value in option.items():
        if isinstance(value, dict) and isinstance(section.get(key), dict):
            _merge(section[key], value)
        else:
            section[key] = value


def _dotted(node: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, value in node.items():
        # Keys that Hydra's grammar cannot name (blanks, brackets) are not offered.
        if not str(key).replace("_", "a").replace("-", "a").isalnum() or key == "defaults":
            continue
        if isinstance(value, dict) and value:
            yield from _dotted(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
