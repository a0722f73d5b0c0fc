"""Config-driven experiments for customer segmentation.

In Python and in notebooks the words of the command line are said to functions::

    import segexp

    run = segexp.run(["dataset=mall", "model=kmeans"])
    run.segments

:mod:`segexp.notebook` describes them. They are loaded when they are asked for: ``import segexp``
alone loads none of the scientific libraries.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segexp.notebook import compare, open, report, run, sweep

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "open", "report", "run", "sweep"]

_MODULES_TOO = ("report", "sweep")  # functions that share their name with a module


class _CallableModule(ModuleType):
    """A module that is called as the function of its name in :mod:`segexp.notebook`."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(importlib.import_module("segexp.notebook"), name)(*args, **options)


class _Package(ModuleType):
    """A package of which the import system sets modules as attributes, in place of functions.

    So ``segexp.sweep`` is the module and can be called, whoever imported it first.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in _MODULES_TOO and isinstance(value, ModuleType):
            value.__class__ = _CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _MODULES_TOO:
        return importlib.import_module(f"segexp.{name}")
    if name in __all__:
        return getattr(importlib.import_module("segexp.notebook"), name)
    raise AttributeError(f"module 'segexp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
