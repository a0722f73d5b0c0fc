"""Search spaces as Optuna sees them: distributions, conditions, and every point of a grid."""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from segexp.config.space import Parameter
from segexp.errors import ConfigError, did_you_mean

MAX_GRID = 1_000_000
PREPROCESSING = "preprocessing."


@dataclass(frozen=True)
class SearchSpace:
    """The parameters of a study, and what their names and values mean.

    *Real* values are what estimators take; *encoded* values are what Optuna stores.

    Attributes
    ----------
    parameters : tuple of Parameter
        In an order in which conditions come first. Parameters of the model have its names,
        those of the preprocessing begin with ``preprocessing.``.
    fixed : mapping of name to value
        Values of the parameters that conditions name and nobody searches.
    """

    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def distributions(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of every parameter."""
        return {parameter.name: _distribution(parameter) for parameter in self.parameters}

    def suggest(self, trial: Trial) -> dict[str, Any]:
        """Ask a trial for every active parameter and return real values."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if self._is_active(parameter, values):
                values[parameter.name] = _real(parameter, _ask(trial, parameter))
        return values

    def encode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return real values as Optuna stores them.

        Raises
        ------
        ConfigError
            For a name that the space lacks, or a value that is none of the choices.
        """
        return {name: _encoded(self._named(name), value) for name, value in params.items()}

    def decode(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return stored values as real ones; the reverse of :meth:`encode`.

        Raises
        ------
        ConfigError
            For a name that the space lacks, or a stored choice that it no longer has.
        """
        return {name: _real(self._named(name), value) for name, value in params.items()}

    def active(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return real values without the parameters whose conditions do not hold."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.name in params and self._is_active(parameter, values):
                values[parameter.name] = params[parameter.name]
        return values

    def grid(self, points: int) -> list[dict[str, Any]]:
        """Every point of a grid, as real values; the last parameter varies fastest.

        Parameters
        ----------
        points : int
            Values of a range that has no step, spaced evenly or log-evenly, both ends included.

        Raises
        ------
        ConfigError
            If there are more than ``MAX_GRID`` points.
        """
        if (size := self.grid_size(points)) > MAX_GRID:
            raise ConfigError(
                f"the grid has {size:,} points, and {MAX_GRID:,} are the most; take parameters out "
                f"(~model.space.NAME), or search with search=random"
            )
        values = {parameter.name: _grid_of(parameter, points) for parameter in self.parameters}
        return list(self._walk(values, 0, {}))

    def grid_size(self, points: int) -> int:
        """How many points :meth:`grid` has, or would have if they were not too many."""
        return self._size({p.name: _grid_of(p, points) for p in self.parameters})

    def count(self) -> int | None:
        """How many different points the space has; None where a range is continuous."""
        values: dict[str, Sequence[Any]] = {}
        for parameter in self.parameters:
            all_values = _all_values(parameter)
            if all_values is None:
                return None
            values[parameter.name] = all_values
        return self._size(values)

    def start(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the active ones of ``values`` as real values, or None if one is out of range."""
        found: dict[str, Any] = {}
        for parameter in self.parameters:
            if self._is_active(parameter, found):
                value = _value_in(parameter, values.get(parameter.name, _ABSENT))
                if value is _ABSENT:
                    return None
                found[parameter.name] = value
        return found

    def key(self, params: Mapping[str, Any]) -> str:
        """Return text that is equal for equal active parameters, given as real values."""
        return json.dumps(self.encode(self.active(params)), sort_keys=True)

    def _named(self, name: str) -> Parameter:
        by_name = {parameter.name: parameter for parameter in self.parameters}
        if name not in by_name:
            raise ConfigError(
                f"the search space has no parameter {name!r}{did_you_mean(name, by_name)}"
            )
        return by_name[name]

    def _is_active(self, parameter: Parameter, values: Mapping[str, Any]) -> bool:
        """Whether the conditions hold, given the active parameters before this one."""
        known = {**self.fixed, **values}
        return all(
            name in known and any(_same(known[name], value) for value in allowed)
            for name, allowed in parameter.when
        )

    def _walk(
        self, values: Mapping[str, Sequence[Any]], index: int, point: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        if index == len(self.parameters):
            yield copy.deepcopy(point)
            return
        parameter = self.parameters[index]
        if not self._is_active(parameter, point):
            yield from self._walk(values, index + 1, point)
            return
        for value in values[parameter.name]:
            yield from self._walk(values, index + 1, {**point, parameter.name: value})

    def _size(self, values: Mapping[str, Sequence[Any]]) -> int:
        # Only what conditions depend on is spelled out; the rest is multiplied.
        deciding = {name for parameter in self.parameters for name, _ in parameter.when}
        branches: list[tuple[dict[str, Any], int]] = [({}, 1)]
        for parameter in self.parameters:
            grown = []
            for point, size in branches:
                if not self._is_active(parameter, point):
                    grown.append((point, size))
                elif parameter.name in deciding:
                    grown += [({**point, parameter.name: v}, size) for v in values[parameter.name]]
                else:
                    grown.append((point, size * len(values[parameter.name])))
            branches = grown
        return sum(size for _, size in branches)


def join_spaces(
    model: Iterable[Parameter],
    preprocessing: Iterable[Parameter] = (),
    configured: Mapping[str, Any] | None = None,
) -> SearchSpace:
    """Return the space of a study: the model's parameters and, if given, the preprocessing's.

    Parameters
    ----------
    model, preprocessing : iterable of Parameter
        As :func:`segexp.config.space.parse_space` returns them.
    configured : mapping of pipeline path to value, optional
        The pipeline's ``get_params()``: what parameters have that conditions name and nobody
        searches. One that is not there counts as None.
    """
    parameters = (*model, *(_prefixed(parameter) for parameter in preprocessing))
    searched = {parameter.name for parameter in parameters}
    named = {name: None for parameter in parameters for name, _ in parameter.when}
    fixed = {
        name: (configured or {}).get(pipeline_path(name)) for name in named if name not in searched
    }
    return SearchSpace(parameters, fixed)


def pipeline_path(name: str) -> str:
    """Return the pipeline's path of a parameter of a study.

    Examples
    --------
    >>> pipeline_path("num_leaves")
    'model__num_leaves'
    >>> pipeline_path("preprocessing.numeric__impute__strategy")
    'preprocessing__columns__numeric__impute__strategy'
    """
    if not name.startswith(PREPROCESSING):
        return f"model__{name}"
    key = name.removeprefix(PREPROCESSING)
    part = "" if key.startswith(("table__", "reduction__")) else "columns__"
    return f"preprocessing__{part}{key}"


def pipeline_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return real values by the pipeline's paths, as ``set_params`` takes them."""
    return {pipeline_path(name): value for name, value in params.items()}


def _prefixed(parameter: Parameter) -> Parameter:
    when = tuple((f"{PREPROCESSING}{name}", values) for name, values in parameter.when)
    values = {**vars(parameter), "name": f"{PREPROCESSING}{parameter.name}", "when": when}
    return Parameter(**values)


_ABSENT = object()


def _same(left: Any, right: Any) -> bool:
    """Whether two values of YAML are the same: 1 and 1.0 are, 1 and True are not."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return repr(left) == repr(right) or bool(left == right)


def _choices(parameter: Parameter) -> dict[Any, Any]:
    """What Optuna stores -> the real choice.

    Optuna takes scalars and compares with ``==``. Where that would not tell the choices apart,
    each is stored as the text that Python writes for it.
    """
    by_label = {repr(choice): choice for choice in parameter.choices}
    choices = list(by_label.values())
    plain = all(choice is None or isinstance(choice, int | float | str) for choice in choices)
    if plain and len(set(choices)) == len(choices) and all(c == c for c in choices):
        return {choice: choice for choice in choices}
    return by_label


def _int_step(parameter: Parameter) -> int:
    return int(parameter.step or 1)


def _bounds(parameter: Parameter) -> tuple[float, float]:
    """Low, and the highest value that the step reaches."""
    low, high = parameter.low or 0, parameter.high or 0
    if parameter.type == "int":
        low, high = int(low), int(high)
        return low, low + (high - low) // _int_step(parameter) * _int_step(parameter)
    if parameter.step is not None:
        return float(low), _stepped(parameter, _n_steps(parameter))
    return float(low), float(high)


def _n_steps(parameter: Parameter) -> int:
    low, high, step = (Decimal(str(x)) for x in (parameter.low, parameter.high, parameter.step))
    return int((high - low) // step)


def _stepped(parameter: Parameter, n: int) -> float:
    # In decimals, so that 0.1 and two steps of 0.1 are 0.3, as YAML would say it.
    return float(Decimal(str(parameter.low)) + n * Decimal(str(parameter.step)))


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.type == "categorical":
        return CategoricalDistribution(tuple(_choices(parameter)))
    low, high = _bounds(parameter)
    if parameter.type == "int":
        return IntDistribution(int(low), int(high), log=parameter.log, step=_int_step(parameter))
    return FloatDistribution(low, high, log=parameter.log, step=parameter.step)


def _ask(trial: Trial, parameter: Parameter) -> Any:
    name, log = parameter.name, parameter.log
    if parameter.type == "categorical":
        return trial.suggest_categorical(name, tuple(_choices(parameter)))
    low, high = _bounds(parameter)
    if parameter.type == "int":
        return trial.suggest_int(name, int(low), int(high), log=log, step=_int_step(parameter))
    return trial.suggest_float(name, low, high, log=log, step=parameter.step)


def _real(parameter: Parameter, stored: Any) -> Any:
    if parameter.type == "categorical":
        choices = _choices(parameter)
        for label, choice in choices.items():
            if _same(label, stored):
                return copy.deepcopy(choice)
        raise ConfigError(
            f"the search space has no choice {stored!r} of {parameter.name}"
            f"{did_you_mean(stored, choices)}"
        )
    if parameter.type == "int":
        return int(stored)
    if parameter.step is not None:
        return _stepped(parameter, round((stored - (parameter.low or 0)) / parameter.step))
    return float(stored)


def _encoded(parameter: Parameter, value: Any) -> Any:
    if parameter.type != "categorical":
        return _real(parameter, value)
    choices = _choices(parameter)
    exact = [label for label, choice in choices.items() if repr(choice) == repr(value)]
    equal = [label for label, choice in choices.items() if _same(choice, value)]
    if not equal:
        raise ConfigError(
            f"the search space has no choice {value!r} of {parameter.name}"
            f"{did_you_mean(value, choices.values())}"
        )
    return (exact or equal)[0]


def _value_in(parameter: Parameter, value: Any) -> Any:
    """Return a configured value as a real value of the parameter, or ``_ABSENT``."""
    if parameter.type == "categorical":
        if any(_same(choice, value) for choice in parameter.choices):
            return _real(parameter, _encoded(parameter, value))
        return _ABSENT
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    low, high = _bounds(parameter)
    if not is_number or not low <= value <= high:
        return _ABSENT
    real = _real(parameter, value)
    return real if math.isclose(real, value) and _on_step(parameter, real) else _ABSENT


def _on_step(parameter: Parameter, value: float) -> bool:
    return parameter.type != "int" or (value - int(parameter.low or 0)) % _int_step(parameter) == 0


def _all_values(parameter: Parameter) -> Sequence[Any] | None:
    """Every value of a parameter, or None where the range is continuous."""
    if parameter.type == "categorical":
        return list(_choices(parameter).values())
    low, high = _bounds(parameter)
    if parameter.type == "int":
        return range(int(low), int(high) + 1, _int_step(parameter))
    if parameter.step is not None:
        return [_stepped(parameter, n) for n in range(_n_steps(parameter) + 1)]
    return [low] if low == high else None


def _grid_of(parameter: Parameter, points: int) -> Sequence[Any]:
    values = _all_values(parameter)
    if values is not None and (
        parameter.type == "categorical" or parameter.step is not None or len(values) <= points
    ):
        return values
    low, high = _bounds(parameter)
    spaced = (np.geomspace if parameter.log else np.linspace)(low, high, points).tolist()
    # The ends as written: geomspace may miss them by a last digit.
    spaced = [low, *spaced[1:-1], high]
    if parameter.type == "int":
        spaced = [math.floor(value + 0.5) for value in spaced]
    return [value for value, _ in itertools.groupby(spaced)]
