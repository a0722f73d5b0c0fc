"""Search spaces as typed, conditional YAML nodes.

::

    num_leaves: {type: int, low: 7, high: 127, log: true}
    boosting_type: {type: categorical, choices: [gbdt, dart]}
    drop_rate: {type: float, low: 0.05, high: 0.3, when: {boosting_type: dart}}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from segexp.errors import ConfigError, did_you_mean

_KEYS = {
    "int": {"low", "high", "log", "step"},
    "float": {"low", "high", "log", "step"},
    "categorical": {"choices"},
}
_NEEDED = {
    "int": {"low", "high"},
    "float": {"low", "high"},
    "categorical": {"choices"},
}


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter and the values worth trying.

    Attributes
    ----------
    name : str
        scikit-learn parameter path, for example ``num_leaves`` or ``estimator__C``.
    type : {"int", "float", "categorical"}
    low, high : float or None
        Both ends are included.
    log : bool
        Sample evenly on a logarithmic scale.
    step : float or None
    choices : tuple
        Values of a categorical parameter; null, lists and strings with commas are values too.
    when : tuple of (str, tuple)
        The parameter is searched only where each named parameter has one of the values.
    """

    name: str
    type: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def __str__(self) -> str:
        if self.type == "categorical":
            text = "one of " + ", ".join(str(choice) for choice in self.choices)
        else:
            text = f"{self.type} {self.low:g} .. {self.high:g}"
            text += " (log)" if self.log else ""
            text += f" step {self.step:g}" if self.step is not None else ""
        for name, values in self.when:
            text += f" when {name} is {' or '.join(str(value) for value in values)}"
        return text


def parse_space(nodes: Mapping[str, Any], prefix: str) -> tuple[Parameter, ...]:
    """Parse the ``space`` of a model or a preprocessing.

    Parameters
    ----------
    nodes : mapping of parameter name to typed node
        A node that is null takes the parameter out of the space.
    prefix : str
        Where the space stands, for error messages: ``model.space``.

    Returns
    -------
    tuple of Parameter
        In such an order that a condition's parameter comes before what depends on it.

    Raises
    ------
    ConfigError
        For an unknown type or key, a missing or impossible bound, a circular condition.
    """
    parameters = {
        name: _parse_parameter(name, node, f"{prefix}.{name}")
        for name, node in nodes.items()
        if node is not None
    }
    return _in_order_of_conditions(parameters, prefix)


def check_space(
    parameters: Iterable[Parameter], known: Iterable[str], prefix: str, owner: str
) -> None:
    """Raise ``ConfigError`` if a parameter, or one of its conditions, is none of ``known``."""
    known = list(known)
    for parameter in parameters:
        for name in (parameter.name, *(name for name, _ in parameter.when)):
            if name not in known:
                raise ConfigError(
                    f"{prefix}.{parameter.name}: {owner} has no parameter {name!r}"
                    f"{did_you_mean(name, known)}"
                )


def _parse_parameter(name: str, node: Any, path: str) -> Parameter:
    if not isinstance(node, Mapping):
        raise ConfigError(
            f"{path} must be a mapping such as {{type: float, low: 0.1, high: 1}}, got {node!r}"
        )
    kind = node.get("type")
    if not isinstance(kind, str) or kind not in _KEYS:
        raise ConfigError(
            f"{path}.type must be one of {', '.join(_KEYS)}, got {kind!r}"
            f"{did_you_mean(str(kind), _KEYS)}"
        )
    allowed = {"type", "when", *_KEYS[kind]}
    for key in node:
        if key not in allowed:
            raise ConfigError(
                f"{path} has an unknown key {key!r}{did_you_mean(str(key), allowed)}; "
                f"a parameter of type {kind} takes {', '.join(sorted(allowed))}"
            )
    if missing := sorted(_NEEDED[kind] - set(node)):
        raise ConfigError(f"{path} lacks {', '.join(missing)}")
    when = _parse_when(node.get("when"), path)
    if kind == "categorical":
        choices = node["choices"]
        if not isinstance(choices, list) or not choices:
            raise ConfigError(f"{path}.choices must be a list of values, got {choices!r}")
        return Parameter(name, kind, choices=tuple(choices), when=when)
    return _parse_range(name, kind, node, path, when)


def _parse_range(
    name: str,
    kind: str,
    node: Mapping[str, Any],
    path: str,
    when: tuple[tuple[str, tuple[Any, ...]], ...],
) -> Parameter:
    wanted = "a whole number" if kind == "int" else "a number"
    for key in ("low", "high", "step"):
        value = node.get(key)
        if value is None and key == "step":
            continue
        if not _is_number(value) or (kind == "int" and value != int(value)):
            raise ConfigError(f"{path}.{key} must be {wanted}, got {value!r}")
    low, high, step, log = node["low"], node["high"], node.get("step"), node.get("log", False)
    if not isinstance(log, bool):
        raise ConfigError(f"{path}.log must be true or false, got {log!r}")
    if low > high:
        raise ConfigError(f"{path}: low {low} is greater than high {high}")
    if log and low <= 0:
        raise ConfigError(f"{path}: a log range needs low above 0, got {low}")
    if step is not None and (step <= 0 or log):
        cause = "log and step exclude each other" if log else f"step must be above 0, got {step}"
        raise ConfigError(f"{path}: {cause}")
    return Parameter(name, kind, low=low, high=high, log=log, step=step, when=when)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parse_when(when: Any, path: str) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    if when is None:
        return ()
    if not isinstance(when, Mapping) or not when:
        raise ConfigError(
            f"{path}.when must be a mapping such as {{boosting_type: dart}}, got {when!r}"
        )
    return tuple(
        (name, tuple(values) if isinstance(values, list) else (values,))
        for name, values in when.items()
    )


def _in_order_of_conditions(
    parameters: Mapping[str, Parameter], prefix: str
) -> tuple[Parameter, ...]:
    ordered: dict[str, Parameter] = {}

    def place(parameter: Parameter, above: tuple[str, ...]) -> None:
        if parameter.name in above:
            circle = " -> ".join((*above, parameter.name))
            raise ConfigError(f"{prefix}: the conditions go round in a circle: {circle}")
        for name, _ in parameter.when:
            # A condition may also name a fixed parameter, which is not in the space.
            if name in parameters:
                place(parameters[name], (*above, parameter.name))
        ordered.setdefault(parameter.name, parameter)

    for parameter in parameters.values():
        place(parameter, ())
    return tuple(ordered.values())
