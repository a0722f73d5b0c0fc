"""From ``_target_`` nodes to estimators: the only module that turns a name into a class.

A configuration may come from a stranger, so a ``_target_`` is refused by its text before
anything is imported, and by its kind before anything is called.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin, clone, is_classifier, is_clusterer
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils._param_validation import InvalidParameterError

from segexp.clustering.segmenter import Segmenter
from segexp.config.schema import (
    UNPREPARED,
    ExperimentConfig,
    ModelConfig,
    PreprocessingConfig,
)
from segexp.config.space import Parameter, check_space, parse_space
from segexp.errors import ConfigError, did_you_mean
from segexp.features import RoleColumns
from segexp.search.fitting import silence, try_fit

# Package -> what pip calls it.
PACKAGES = {
    "sklearn": "scikit-learn",
    "lightgbm": "lightgbm",
    "xgboost": "xgboost-cpu",
    "imblearn": "imbalanced-learn",
    "segexp": "segexp",
}

# Parts of the allowed packages that hold no estimator and can reach other modules.
_CLOSED = {
    "utils", "externals", "tests", "testing", "conftest", "datasets", "dask", "spark", "cli",
    "config",
}  # fmt: skip
_TARGET = re.compile(r"[a-z]\w*(\.[a-z]\w*)*\.[A-Z]\w*")


def check_target(target: Any, path: str, packages: Sequence[str] = ()) -> None:
    """Refuse a ``_target_`` by its text, before anything is imported.

    Parameters
    ----------
    target : Any
        What the configuration says; only a dotted path to a class of an allowed package passes.
    path : str
        Where it stands, for the error message.
    packages : sequence of str
        The user's own packages (``run.packages``).

    Raises
    ------
    ConfigError
        For anything else.
    """
    allowed = (*PACKAGES, *packages)
    if not isinstance(target, str):
        raise ConfigError(f"{path}._target_ must be the dotted path of a class, got {target!r}")
    if target.split(".")[0] not in allowed:
        raise ConfigError(
            f"{path}._target_: {target!r} is not in an allowed package "
            f"({', '.join(allowed)}); name a package of your own in run.packages"
        )
    modules = target.split(".")[1:-1]
    if not _TARGET.fullmatch(target) or _CLOSED.intersection(modules):
        raise ConfigError(f"{path}._target_: {target!r} does not name an estimator class")


def find_class(target: str, path: str, packages: Sequence[str] = ()) -> type[BaseEstimator]:
    """Import the class that a ``_target_`` names, after :func:`check_target`.

    Raises
    ------
    ConfigError
        If it is refused, cannot be imported, or is not a scikit-learn estimator.
    """
    check_target(target, path, packages)
    module_name, _, class_name = target.rpartition(".")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        top = target.split(".")[0]
        absent = getattr(error, "name", None) == top
        cause: object = error
        if absent and top in PACKAGES:
            cause = f"{top} is not installed; pip install {PACKAGES[top]}"
        elif absent:  # of the user's own; its name on a package index may be a stranger's
            cause = f"{top} cannot be imported; install it (pip install -e .) or set PYTHONPATH"
        raise ConfigError(f"{path}._target_: {target!r}: {cause}") from error
    found = getattr(module, class_name, None)
    if found is None:
        classes = [name for name, value in vars(module).items() if inspect.isclass(value)]
        raise ConfigError(
            f"{path}._target_: {module_name} has no {class_name}{did_you_mean(class_name, classes)}"
        )
    own = getattr(found, "__module__", "").split(".")[0] in (*PACKAGES, *packages)
    if not (inspect.isclass(found) and issubclass(found, BaseEstimator) and own):
        raise ConfigError(f"{path}._target_: {target!r} is not a scikit-learn estimator")
    return found


def build(node: Mapping[str, Any], path: str, packages: Sequence[str] = ()) -> BaseEstimator:
    """Build the unfitted estimator of a ``_target_`` node, nested nodes first.

    Every parameter is checked against the estimator's signature, and its value against the
    constraints that scikit-learn states for it.

    Raises
    ------
    ConfigError
        Names the parameter, with the nearest one that exists.
    """
    for target, where in _targets(node, path):
        check_target(target, where, packages)
    return _build(node, path, packages)


def _targets(value: Any, path: str) -> Iterator[tuple[Any, str]]:
    if isinstance(value, Mapping):
        if "_target_" in value:
            yield value["_target_"], path
        for key, item in value.items():
            yield from _targets(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _targets(item, f"{path}[{i}]")


def _build(node: Mapping[str, Any], path: str, packages: Sequence[str]) -> BaseEstimator:
    cls = find_class(node["_target_"], path, packages)
    known = _parameter_names(cls)
    arguments = {}
    for name, value in node.items():
        if name == "_target_":
            continue
        if name not in known:
            # A parameter of the signature is likelier meant than one of LightGBM's 300 aliases.
            hint = did_you_mean(name, cls._get_param_names()) or did_you_mean(name, known)
            raise ConfigError(f"{path}.{name}: {cls.__name__} has no such parameter{hint}")
        if name == "memory" and value is not None:
            # joblib would pickle into that folder, and run what lies there.
            raise ConfigError(f"{path}.memory must be null: segexp reads and writes no pickles")
        arguments[name] = _build_value(value, f"{path}.{name}", packages)
    try:
        estimator = cls(**arguments)
        if hasattr(cls, "_parameter_constraints"):
            estimator._validate_params()
    except InvalidParameterError as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {cls.__name__} cannot be built: {error}") from error
    return estimator


def _build_value(value: Any, path: str, packages: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        if "_target_" in value:
            return _build(value, path, packages)
        return {key: _build_value(item, f"{path}.{key}", packages) for key, item in value.items()}
    if isinstance(value, list):
        items = [_build_value(item, f"{path}[{i}]", packages) for i, item in enumerate(value)]
        # scikit-learn wants (name, transformer) pairs as tuples.
        is_pair = len(items) == 2 and isinstance(items[1], BaseEstimator)
        return tuple(items) if is_pair else items
    return value


def _parameter_names(cls: type[BaseEstimator]) -> set[str]:
    names = set(cls._get_param_names())
    if cls.__module__.startswith("lightgbm"):
        names |= _lightgbm_parameters()
    elif cls.__module__.startswith("xgboost"):
        names |= set(cls().get_params())
    return names


def _lightgbm_parameters() -> set[str]:
    """LightGBM's estimators also take its native parameters, and swallow misspelled ones."""
    from lightgbm.basic import _ConfigAliases

    aliases = _ConfigAliases._get_all_param_aliases()
    return set(aliases).union(*aliases.values())


def build_model(config: ModelConfig, packages: Sequence[str] = ()) -> BaseEstimator:
    """Build the unfitted estimator of a model.

    Raises
    ------
    ConfigError
        If the estimator does not fit the task.
    """
    estimator = build(config.estimator, "model.estimator", packages)
    if config.task == "clustering":
        return _build_segmenter(config, estimator)
    if config.task in _METHOD_OF:
        method = _METHOD_OF[config.task]
        if not hasattr(estimator, method):
            raise ConfigError(
                f"model.estimator: {type(estimator).__name__} has no {method}, and model.task is "
                f"{config.task}"
            )
        return estimator
    if not is_classifier(estimator):
        raise ConfigError(
            f"model.estimator: {type(estimator).__name__} is no classifier, and model.task is "
            f"{config.task}"
        )
    if type(estimator).__module__.split(".")[0] in ("lightgbm", "xgboost"):
        _check_values(estimator)
    return estimator


# What the estimators of the other tasks must do.
_METHOD_OF = {"value": "value", "baskets": "fit"}


def _build_segmenter(config: ModelConfig, clusterer: BaseEstimator) -> Segmenter:
    """Give a clusterer the interface that all of them have here."""
    if not hasattr(clusterer, "fit_predict") and not is_clusterer(clusterer):
        raise ConfigError(
            f"model.estimator: {type(clusterer).__name__} is no clusterer, and model.task is "
            f"clustering"
        )
    seed = clusterer.get_params(deep=False).get("random_state")
    return Segmenter(
        clusterer, assignment=config.assignment, max_rows=config.max_rows, random_state=seed or 0
    )


def _check_unsupervised(preprocessing: Pipeline) -> None:
    """Refuse steps that learn from the known segments before a clusterer."""
    for name, step in preprocessing.get_params().items():
        if isinstance(step, TransformerMixin) and get_tags(step).target_tags.required:
            raise ConfigError(
                f"preprocessing.{name.replace('columns__', '').replace('__', '.')}: "
                f"{type(step).__name__} learns from the known segments, which a clusterer must "
                f"not see; say preprocessing=standard"
            )


def _check_values(estimator: BaseEstimator) -> None:
    """Let LightGBM and XGBoost check their values now, and not after the table is loaded."""
    with silence():
        error = try_fit(lambda: clone(estimator))
    if error is not None:
        name = type(estimator).__name__
        cause = " ".join(str(error).split()).split(" at /")[0]
        raise ConfigError(f"model.estimator: {name} rejects these values: {cause[:300]}") from error


def build_preprocessing(
    config: PreprocessingConfig, native_categorical: bool, packages: Sequence[str] = ()
) -> Pipeline:
    """Build the unfitted preprocessing: table steps, steps per column role, reduction.

    Parameters
    ----------
    native_categorical : bool
        The model takes pandas categories; then ``native_categorical`` steps, where the
        preprocessing has them, replace the ``categorical`` ones.
    """
    native = native_categorical and config.native_categorical is not None
    branches = []
    for role, nodes in config.roles.items():
        key = role
        if role == "categorical" and native:
            key, nodes = "native_categorical", config.native_categorical
        steps = _build_steps(nodes, f"preprocessing.{key}", packages)
        branches.append((role, _pipeline(steps), RoleColumns(role)))
    # A DataFrame must not have a name twice, and roles can make the same one.
    columns = ColumnTransformer(branches, verbose_feature_names_out=native)
    if native:
        columns.set_output(transform="pandas")
    return Pipeline(
        [
            ("table", _pipeline(_build_steps(config.table, "preprocessing.table", packages))),
            ("columns", columns),
            (
                "reduction",
                _pipeline(_build_steps(config.reduction, "preprocessing.reduction", packages)),
            ),
        ]
    )


def _build_steps(
    nodes: Mapping[str, Any], path: str, packages: Sequence[str]
) -> list[tuple[str, BaseEstimator]]:
    steps = []
    for name, node in nodes.items():
        if node is None:  # `preprocessing.numeric.scale=null` takes a step out
            continue
        where = f"{path}.{name}"
        if not isinstance(node, Mapping) or "_target_" not in node:
            hint = did_you_mean(name, [known for known in nodes if known != name])
            raise ConfigError(f"{where}: a step needs a _target_ (its class), got {node!r}{hint}")
        step = build(node, where, packages)
        if not hasattr(step, "transform") and not hasattr(step, "fit_transform"):
            raise ConfigError(f"{where}: {type(step).__name__} does not transform")
        steps.append((name, step))
    return steps


def _pipeline(steps: list[tuple[str, BaseEstimator]]) -> Pipeline | str:
    return Pipeline(steps) if steps else "passthrough"


def build_pipeline(config: ExperimentConfig) -> Pipeline:
    """Build the unfitted pipeline of an experiment and check both search spaces against it.

    Raises
    ------
    ConfigError
        For a refused target, an unknown parameter, a wrong value, or a space that names a
        parameter the estimator lacks.
    """
    pipeline = join(config.preprocessing, config.model, config.engine.threads, config.run.packages)
    parse_spaces(config, pipeline)
    return pipeline


def join(
    preprocessing: PreprocessingConfig,
    model: ModelConfig,
    threads: int = 1,
    packages: Sequence[str] = (),
) -> Pipeline:
    """Return the unfitted pipeline of a preprocessing followed by a model.

    Parameters
    ----------
    threads : int
        What the model works with, unless its config says ``n_jobs`` itself. LightGBM and XGBoost
        would otherwise take every core, in every process.
    """
    if model.task in UNPREPARED:
        return Pipeline([("model", build_model(model, packages))])
    pipeline = Pipeline(
        [
            (
                "preprocessing",
                build_preprocessing(preprocessing, model.native_categorical, packages),
            ),
            ("model", build_model(model, packages)),
        ]
    )
    if model.task == "clustering":
        _check_unsupervised(pipeline.named_steps["preprocessing"])
    _set_threads(pipeline.named_steps["model"], threads)
    return pipeline


def _set_threads(estimator: BaseEstimator, threads: int) -> None:
    """Give the outer estimator its threads, and nested boosters one each."""
    parameters = estimator.get_params()
    owners = {"n_jobs": estimator}
    owners |= {f"{k}__n_jobs": v for k, v in parameters.items() if hasattr(v, "get_params")}
    for name, owner in owners.items():
        booster = type(owner).__module__.split(".")[0] in ("lightgbm", "xgboost")
        wanted = threads if name == "n_jobs" else 1
        # scikit-learn's None is one thread; logistic regression warns when it is told.
        unset = name in parameters and parameters[name] is None
        if unset and (booster or wanted > 1) and not isinstance(owner, LogisticRegression):
            estimator.set_params(**{name: wanted})


def parse_spaces(config: ExperimentConfig, pipeline: Pipeline) -> dict[str, tuple[Parameter, ...]]:
    """Return the search spaces ``model`` and ``preprocessing``, checked against the pipeline."""
    model = parse_space(config.model.space, "model.space")
    estimator = pipeline.named_steps["model"]
    known = set(estimator.get_params()) | _parameter_names(type(estimator))
    check_space(model, known, "model.space", type(estimator).__name__)
    if config.model.task in UNPREPARED:
        return {"model": model, "preprocessing": ()}

    preprocessing = parse_space(config.preprocessing.space, "preprocessing.space")
    columns = pipeline.named_steps["preprocessing"].named_steps["columns"]
    known = {name for name in columns.get_params() if "__" in name}
    known |= {
        name.replace("preprocessing__", "", 1)
        for name in pipeline.get_params()
        if name.startswith(("preprocessing__table__", "preprocessing__reduction__"))
    }
    # A native categorical branch lacks the parameters of the steps it replaces.
    searched = tuple(p for p in preprocessing if not _replaced(p, config, known))
    check_space(
        searched, known, "preprocessing.space", f"preprocessing {config.preprocessing.name}"
    )
    return {"model": model, "preprocessing": searched}


def _replaced(parameter: Parameter, config: ExperimentConfig, known: set[str]) -> bool:
    native = config.model.native_categorical and config.preprocessing.native_categorical is not None
    return native and parameter.name.startswith("categorical__") and parameter.name not in known
