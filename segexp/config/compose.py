"""From words to a validated experiment: the one place that calls Hydra's compose.

OmegaConf stops here. What leaves this module are frozen dataclasses and plain values.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from segexp.config.options import (
    PRIMARY,
    find_option,
    list_keys,
    list_models,
    list_options,
    one_line,
    read_yaml,
    shipped_conf,
)
from segexp.config.schema import GROUPS, SCHEMAS, ExperimentConfig, ModelConfig
from segexp.errors import ConfigError, did_you_mean

# Keys below these take any name without a `+`: they are checked against the estimator, the
# steps or the table instead of against the YAML files.
_FREE = (
    "model.estimator",
    "model.space",
    "dataset.ordinal",
    "dataset.filter",
    "dataset.rules",
    "dataset.downloads",
    "search.constraints",
    "search.candidates",
    "evaluation.constraints",
    *(
        f"preprocessing.{part}"
        for part in (
            "table", "numeric", "categorical", "native_categorical", "ordinal", "date",
            "reduction", "space",
        )
    ),
)  # fmt: skip

_INSTEAD_OF_HYDRA = (  # the first prefix that matches answers
    ("hydra.run", "segexp owns the run directory: say run.outputs=DIR for where runs land"),
    ("hydra.sweep.", "segexp owns the sweep's directories: say run.outputs=DIR"),
    ("hydra.sweeper", "say `segexp sweep` for a grid, search=... for a search"),
    ("hydra/sweeper", "say `segexp sweep` for a grid, search=... for a search"),
    ("hydra.launcher", "say engine=local and engine.n_jobs=N"),
    ("hydra/launcher", "say engine=local and engine.n_jobs=N"),
    ("hydra.mode", "say `segexp sweep` instead of `segexp run`"),
    ("hydra.searchpath", "say --config-dir DIR, or keep a folder conf/ beside your work"),
    ("hydra.verbose", "say `segexp --verbose run ...`"),
    ("hydra", "segexp composes with Hydra but owns running, logging and directories"),
)


def parse_words(words: Sequence[str]) -> list[Override]:
    """Parse override words with Hydra's own grammar.

    Raises
    ------
    ConfigError
        For a word that the grammar rejects, an empty list of choices, or a `hydra.*` word.
    """
    parser = OverridesParser.create()
    overrides = []
    for word in words:
        for prefix, answer in _INSTEAD_OF_HYDRA:
            if word.lstrip("+~").startswith(prefix):
                raise ConfigError(f"{word}: {answer}")
        try:
            overrides.append(parser.parse_override(word))
        except HydraException as error:
            raise ConfigError(_explain_grammar(word, error)) from error
    return overrides


def _explain_grammar(word: str, error: Exception) -> str:
    if not word.strip():
        return "there is an empty word; expected key=value, for example model=lightgbm"
    if "=" not in word and not word.startswith("~"):
        return f"{word}: expected key=value, for example model=lightgbm or run.seed=1"
    cause = one_line(error).split("See https")[0].rstrip()
    return (
        f"{word}: Hydra's grammar rejects this word ({cause}); a value with other characters than "
        f"letters, digits and ._-/ wants quotes inside the shell's, 'key=\"Straße (k$)\"'; a key "
        f"with them belongs in a YAML file, such as conf/dataset/mine.yaml"
    )


def is_grid(words: Sequence[str]) -> bool:
    """Return whether a word asks for several values (a comma list, range, choice or glob)."""
    return any(override.is_sweep_override() for override in parse_words(words))


def expand_grid(words: Sequence[str], conf_dirs: Sequence[Path]) -> list[list[str]]:
    """Expand comma lists, ``range()``, ``choice()`` and ``glob()`` into the words of each cell.

    A glob over models takes those of one task, that of the model which the other words name.

    Returns
    -------
    list of list of str
        One list of words per cell; the last word varies fastest.
    """
    choices = []
    overrides = parse_words(words)
    for word, override in zip(words, overrides, strict=True):
        if not override.is_sweep_override():
            choices.append([word])
            continue
        values = list(_sweep_values(word, override, conf_dirs))
        if override.key_or_group == "model" and isinstance(override._value, Glob):
            single = [o.input_line for o in overrides if not o.is_sweep_override()]
            values = _of_one_task(values, [str(line) for line in single], conf_dirs)
        if not values:
            raise ConfigError(f"{word}: this matches nothing, so there would be no run")
        choices.append([f"{override.get_key_element()}={value}" for value in values])
    return [list(cell) for cell in itertools.product(*choices)]


def _of_one_task(
    models: Sequence[str], words: Sequence[str], conf_dirs: Sequence[Path]
) -> list[str]:
    """Keep the models that do what the model of these words does."""
    experiments = [word for word in words if word.startswith("experiment=")]
    known = list_models(_compose(experiments, conf_dirs).model.task, conf_dirs)
    return [name for name in models if name in known]


def _sweep_values(word: str, override: Override, conf_dirs: Sequence[Path]) -> Iterable[str]:
    if not override.is_discrete_sweep():
        raise ConfigError(
            f"{word}: interval() has no list of values; a range belongs to the model's space, "
            f"for example model.space.learning_rate.high=0.1"
        )
    if isinstance(override._value, Glob):
        return override._value.filter(list(list_options(override.key_or_group, conf_dirs)))
    return override.sweep_string_iterator()


def load_config(words: Sequence[str], conf_dirs: Sequence[Path]) -> ExperimentConfig:
    """Compose ``conf_dirs`` with override words and check every key, type and range.

    Parameters
    ----------
    words : sequence of str
        Words of Hydra's override grammar, without sweeps.
    conf_dirs : sequence of Path
        Folders of options, the first of which wins; the last one is the shipped one.

    Raises
    ------
    ConfigError
        In one line: the word or key, what was seen, and what would do.
    """
    overrides = parse_words(words)
    for word, override in zip(words, overrides, strict=True):
        if override.is_sweep_override():
            raise ConfigError(f"{word}: several values make a grid; say `segexp sweep` for that")
        _check_key(override, conf_dirs)
    try:
        freed = [_freed(word, override) for word, override in zip(words, overrides, strict=True)]
        composed = _compose_candidates(freed, overrides, conf_dirs)
    except (HydraException, OmegaConfBaseException, ValueError, yaml.YAMLError) as error:
        raise ConfigError(_explain_compose(overrides, conf_dirs, error)) from error
    content = _to_plain(composed)
    _complete_candidates(content, conf_dirs)
    _take_fixed_out_of_space(content, overrides)
    return config_from_dict(content)


_user_dirs: ContextVar[tuple[Path, ...]] = ContextVar("user_dirs", default=())


class _UserConf(SearchPathPlugin):
    """Puts the user's folders before the shipped one, so that their options win."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for path in reversed(_user_dirs.get()):
            search_path.prepend("segexp-user", f"file://{path}", anchor="main")


@contextmanager
def _search_path(conf_dirs: Sequence[Path]) -> Iterator[None]:
    Plugins.instance().register(_UserConf)
    token = _user_dirs.set(tuple(conf_dirs[:-1]))
    try:
        with initialize_config_dir(str(conf_dirs[-1]), version_base="1.3"):
            yield
    finally:
        _user_dirs.reset(token)


def _compose(words: Sequence[str], conf_dirs: Sequence[Path]) -> DictConfig:
    with _search_path(conf_dirs):
        return compose(PRIMARY, overrides=list(words))


_CANDIDATES = "search.candidates"


def _compose_candidates(
    freed: Sequence[Sequence[str]], overrides: Sequence[Override], conf_dirs: Sequence[Path]
) -> DictConfig:
    """Compose; for ``search=auto`` with the option of each of its models as a candidate.

    Which models there are is known only after composing, so that is done twice.
    """
    to_candidates = [o.key_or_group.startswith(f"{_CANDIDATES}.") for o in overrides]
    early = [words for words, late in zip(freed, to_candidates, strict=True) if not late]
    composed = _compose(list(itertools.chain(*early)), conf_dirs)
    if composed.search.name != "auto":
        if any(to_candidates):
            word = overrides[to_candidates.index(True)].input_line
            raise ConfigError(f"{word}: search.candidates needs search=auto")
        return composed
    given = OmegaConf.select(composed, "search.models")
    if isinstance(given, str):
        given = [given]
    models = [str(name) for name in given] if isinstance(given, list | ListConfig) else []
    if composed.search.candidates:
        raise ConfigError(
            "search.candidates is filled in from search.models: change a model by words such as "
            "search.candidates.svm.estimator.cv=5, or with an option of your own in conf/model/"
        )
    for name in models:
        try:
            find_option("model", name, conf_dirs)
        except ConfigError as error:
            raise ConfigError(f"search.models: {error}") from error
    if models:
        _check_words_of_auto(overrides, models)
    added = [f"+model@{_CANDIDATES}.{name}={name}" for name in dict.fromkeys(models)]
    if models and composed.model.name not in models:
        # The first stands for all: it says whether they predict segments or find them.
        added.append(f"model={models[0]}")
    return _compose([*itertools.chain(*freed), *added], conf_dirs)


def _check_words_of_auto(overrides: Sequence[Override], models: Sequence[str]) -> None:
    """Refuse words that ``search=auto`` would not heed."""
    for override in overrides:
        key = override.key_or_group
        if key == "model" and override.package is None and str(override.value()) not in models:
            raise ConfigError(
                f"{override.input_line}: search=auto tries the models of search.models, which are "
                f"{', '.join(models)}; say search=tpe to search one model"
            )
        if key.startswith("model."):
            inside = key.removeprefix("model.")
            raise ConfigError(
                f"{override.input_line}: search=auto has several models; say which one, for "
                f"example {_CANDIDATES}.{models[0]}.{inside}"
            )
        if key.startswith(f"{_CANDIDATES}.") and (name := key.split(".")[2]) not in models:
            raise ConfigError(
                f"{override.input_line}: search.models has no {name!r}"
                f"{did_you_mean(name, models)}; it has {', '.join(models)}"
            )


def _complete_candidates(content: Mapping[str, Any], conf_dirs: Sequence[Path]) -> None:
    """Give candidates the keys that their options leave to the defaults of ``model``."""
    candidates = content["search"]["candidates"]
    if not isinstance(candidates, dict):
        raise ConfigError(f"{_CANDIDATES} must be a mapping, got {candidates!r}")
    defaults = read_yaml(conf_dirs[-1] / f"{PRIMARY}.yaml")["model"] if candidates else {}
    for name, candidate in candidates.items():
        if not isinstance(candidate, dict):
            raise ConfigError(f"{_CANDIDATES}.{name} must be a mapping, got {candidate!r}")
        candidates[name] = {**defaults, **candidate}


def _check_key(override: Override, conf_dirs: Sequence[Path]) -> None:
    key = override.key_or_group
    top = key.split(".")[0]
    if top not in (*GROUPS, "run"):
        raise ConfigError(_unknown_key(key, override, conf_dirs))
    if key in GROUPS and not override.is_delete() and override.package is None:
        value = override.value()
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            find_option(key, str(value), conf_dirs)
            if override.is_add() or override.is_force_add():
                raise ConfigError(
                    f"{override.input_line}: a group has an option already; "
                    f"say {key}={value} to choose another one"
                )
        else:
            raise ConfigError(
                f"{override.input_line}: {key} takes the name of an option: "
                f"{', '.join(list_options(key, conf_dirs))}"
            )


def _unknown_key(key: str, override: Override, conf_dirs: Sequence[Path]) -> str:
    known = list_keys(_chosen([override]), conf_dirs)
    # `seed=1` for run.seed: the last part is right and the section is missing.
    tail = [name for name in known if name.split(".", 1)[1:] and name.endswith(f".{key}")]
    if tail:
        hint = f"; did you mean {tail[0]!r}?"
    else:
        hint = did_you_mean(key, [*GROUPS, "run", *known])
    return f"there is no config key {key!r}{hint}; sections: {', '.join((*GROUPS, 'run'))}"


def _chosen(overrides: Iterable[Override]) -> dict[str, str]:
    return {o.key_or_group: str(o.value()) for o in overrides if o.key_or_group in GROUPS}


def _freed(word: str, override: Override) -> list[str]:
    """Return what Hydra is told: a free key needs no `+`, and `{}` or `~` empties a space."""
    key = override.key_or_group
    plain = override.input_line is not None and override.input_line[:1] not in "+~"
    free = any(f"{key}.".startswith(f"{prefix}.") for prefix in _FREE)
    if override.is_delete() and key in ("model.space", "preprocessing.space"):
        return [word, f"++{key}={{}}"]
    if not (plain and free):
        return [word]
    # Hydra merges mappings: an empty one would change nothing.
    emptied = [f"++{word}", f"~{key}"] if override.value() == {} else []
    return [*emptied, f"++{word}"]


def _explain_compose(
    overrides: Sequence[Override], conf_dirs: Sequence[Path], error: Exception
) -> str:
    """Say in one line what Hydra rejected, with the nearest key instead of its `+` advice."""
    known = list_keys(_chosen(overrides), conf_dirs)
    for override in overrides:
        key = override.key_or_group
        exists = key in known or any(name.startswith(f"{key}.") for name in known)
        if "." in key and not exists and not override.is_add() and not override.is_force_add():
            hint = did_you_mean(key, known)
            owner = key.rpartition(".")[0]
            while not any(name.startswith(f"{owner}.") for name in known):
                owner = owner.rpartition(".")[0]
            depth = owner.count(".") + 1
            names = sorted({k.split(".")[depth] for k in known if k.startswith(f"{owner}.")})
            return f"there is no config key {key!r}{hint}; {owner} has: {', '.join(names)}"
    merging = "Error merging override "
    if str(error).startswith(merging):
        return f"{one_line(error).removeprefix(merging)}: a value of this kind does not fit the key"
    return one_line(error)


def _to_plain(composed: DictConfig) -> dict[str, Any]:
    # A public address that took a value from the environment could carry it away.
    downloads = OmegaConf.select(composed, "dataset.downloads", default={})
    if "${" in OmegaConf.to_yaml(downloads, resolve=False):
        raise ConfigError("dataset.downloads must be written out, without ${...}")
    try:
        content = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        where = f"{key}: " if key else ""
        raise ConfigError(f"{where}{one_line(str(error).splitlines()[0])}") from error
    return typing.cast(dict[str, Any], content)


def _take_fixed_out_of_space(content: dict[str, Any], overrides: Sequence[Override]) -> None:
    """A parameter that a word fixes is no longer searched, unless a word sets its range too."""
    owners = {"model": content["model"], "preprocessing": content["preprocessing"]}
    owners |= {f"{_CANDIDATES}.{k}": v for k, v in content["search"]["candidates"].items()}
    for owner, section in owners.items():
        prefix = f"{owner}." if owner == "preprocessing" else f"{owner}.estimator."
        ranged = {
            o.key_or_group.removeprefix(f"{owner}.space.").split(".")[0]
            for o in overrides
            if o.key_or_group.startswith(f"{owner}.space.")
        }
        for override in overrides:
            key = override.key_or_group
            if key.startswith(prefix) and not key.startswith(f"{owner}.space"):
                name = key.removeprefix(prefix).replace(".", "__")
                if name not in ranged and isinstance(section.get("space"), dict):
                    section["space"].pop(name, None)


def config_from_dict(content: Mapping[str, Any]) -> ExperimentConfig:
    """Build the schema from plain values, as in a run directory's ``config.yaml``.

    Raises
    ------
    ConfigError
        For an unknown or missing key at any depth of the schema, a wrong type or range.
    """
    if unknown := [key for key in content if key not in SCHEMAS]:
        raise ConfigError(
            f"there is no config section {unknown[0]!r}{did_you_mean(str(unknown[0]), SCHEMAS)}"
        )
    sections = {name: _section(name, schema, content.get(name)) for name, schema in SCHEMAS.items()}
    for name, candidate in sections["search"].candidates.items():
        try:
            _section("model", ModelConfig, candidate)
        except ConfigError as error:
            raise ConfigError(f"{_CANDIDATES}.{name}: {error}") from error
    return ExperimentConfig(**sections)


def _section(name: str, schema: type, node: Any) -> Any:
    if not isinstance(node, Mapping):
        raise ConfigError(f"{name} must be a mapping, got {node!r}")
    hints = typing.get_type_hints(schema)
    for key in node:
        if key not in hints:
            full, known = f"{name}.{key}", [f"{name}.{hint}" for hint in hints]
            raise ConfigError(
                f"there is no config key {full!r}{did_you_mean(full, known)}; "
                f"{name} has: {', '.join(hints)}"
            )
    values = {}
    for field in fields(schema):
        key = f"{name}.{field.name}"
        value = node.get(field.name, "???")
        if isinstance(value, str) and value == "???":
            raise ConfigError(f"{key} must be given")
        values[field.name] = _typed(key, value, hints[field.name])
    return schema(**values)


_IN_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list, for example [a,b]",
    dict: "a mapping, for example {a: 1}",
}


def _typed(key: str, value: Any, hint: Any) -> Any:
    """Return ``value`` as the type of its field; whole numbers pass as text and as numbers."""
    if hint is Any:
        return value
    if isinstance(hint, type) and is_dataclass(hint):
        return _section(key, hint, value)
    if typing.get_origin(hint) is types.UnionType:  # `X | None` is the only union in the schema
        hint = next(arg for arg in typing.get_args(hint) if arg is not types.NoneType)
        if value is None:
            return None
    wanted = typing.get_origin(hint) or hint
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is float and is_number:
        return float(value)
    if wanted is str and is_number:
        return str(value)
    if wanted is list and isinstance(value, str | list):
        items = [value] if isinstance(value, str) else value
        return [_typed(f"{key}[{i}]", item, str) for i, item in enumerate(items)]
    if wanted is dict and isinstance(value, dict):
        # A column or a step may be named by a number; values and inner keys stay as they are.
        return {str(name): item for name, item in value.items()}
    if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{key} must be {_IN_WORDS[wanted]}, got {value!r}")


def load_shipped_option(group: str, name: str, config: ExperimentConfig) -> Any:
    """Return a shipped option of a group, completed with the defaults and this run's seeds.

    It serves the baselines, which are the same whatever options a user has. It reads and does
    not compose, which takes a tenth of the time.
    """
    shipped = shipped_conf()
    section = read_yaml(shipped / f"{PRIMARY}.yaml")[group]
    content = {**section, **read_yaml(find_option(group, name, [shipped]))}
    content.pop("defaults", None)
    known = {"run": asdict(config.run), "engine": asdict(config.engine)}
    return _section(
        group, SCHEMAS[group], _to_plain(OmegaConf.create({group: content, **known}))[group]
    )


def config_to_yaml(config: ExperimentConfig) -> str:
    """Return the config as YAML that :func:`read_config` reads back to an equal config."""
    return yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True, width=100)


def read_config(path: Path) -> ExperimentConfig:
    """Read a run directory's ``config.yaml``."""
    return config_from_dict(read_yaml(path))


def config_hash(config: ExperimentConfig) -> str:
    """Return 8 hex digits that name what is computed.

    Where it runs (``engine``), where it lands (``run.outputs``) and what it is called
    (``run.name``, ``run.tags``) change no number and are left out. The order of steps and of rules
    counts.
    """
    content = asdict(config)
    del content["engine"]
    for key in ("outputs", "name", "tags"):
        del content["run"][key]
    canonical = json.dumps(content, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]
