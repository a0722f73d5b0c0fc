"""Fitted pipelines on disk, in skops' format: loading one never runs code from the file.

A file may name types; those of this fixed list are rebuilt, any other is refused. So is a model
that keeps a cache (``memory``): joblib would run what lies in that folder when it is fitted again.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from segexp.errors import RunError

CACHE = "memory"  # the parameter of an estimator that names the folder of a cache
GRIDS = ("param_grid", "param_distributions")  # parameters that a search would set

# What skops does not trust by itself and the shipped models and preprocessings need.
TRUSTED = (
    "collections.OrderedDict",
    "functools.partial",  # of a function that is in this list itself
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "numpy.dtype",
    "segexp.clustering.distances.Gower",
    "segexp.clustering.mixed.GowerAverage",
    "segexp.clustering.mixed.GowerKMedoids",
    "segexp.clustering.mixed.KPrototypes",
    "segexp.clustering.mixed.LatentClasses",
    "segexp.clustering.segmenter.Segmenter",
    "segexp.clustering.segmenter._Centers",
    "segexp.clustering.segmenter._Customers",
    "segexp.clustering.segmenter._Native",
    "segexp.features.CategoryEncoder",
    "segexp.features.CategoryPairs",
    "segexp.features.ColumnShares",
    "segexp.features.ColumnSums",
    "segexp.features.CrossFitTargetEncoder",
    "segexp.features.DateFeatures",
    "segexp.features.DaysSince",
    "segexp.features.DropColumns",
    "segexp.features.FamdScaler",
    "segexp.features.HingeFeatures",
    "segexp.features.KeepColumns",
    "segexp.features.MapLevels",
    "segexp.features.OrdinalCodes",
    "segexp.features.PlainNames",
    "segexp.features.QuantileClipper",
    "segexp.features.RoleColumns",
    "segexp.features.YearsSince",
    "segexp.rfm.LogRFM",
    "segexp.rfm.RFMScorer",
    "segexp.rfm.RFMSegments",
    "segexp.value.clv.CustomerValue",
    "segexp.value.features.ValueFeatures",
    "segexp.value.models.BetaGeo",
    "segexp.value.models.GammaGamma",
    "segexp.value.models.ParetoNBD",
    "segexp.value.models.PastRate",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.cluster._bisect_k_means._BisectingTree",
    "sklearn.cluster._kmeans._kmeans_single_elkan",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    "sklearn.compose._column_transformer._RemainderColsList",  # of scikit-learn 1.6
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
)


class UnsafeModelError(RunError):
    """A fitted model holds a type that is not trusted to be loaded."""


def dump_pipeline(pipeline: Pipeline) -> bytes:
    """Return a fitted pipeline as the bytes of a skops file.

    Raises
    ------
    UnsafeModelError
        If it holds a type or a cache that :func:`load_pipeline` would refuse, so that nothing is
        written which cannot be read back.
    """
    import skops.io

    if owner := _cached(pipeline):
        raise UnsafeModelError(
            f"the model was not saved: {CACHE} of its {owner} is set, and a cache holds pickles; "
            f"say {CACHE}=null"
        )
    content: bytes = skops.io.dumps(pipeline, compression=zipfile.ZIP_DEFLATED)
    if unknown := sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED)):
        raise UnsafeModelError(
            f"the model was not saved: it holds types that are not trusted to be loaded "
            f"({', '.join(unknown)})"
        )
    return content


def load_pipeline(content: bytes, name: str) -> Pipeline:
    """Load a fitted pipeline; ``name`` is what an error calls the file.

    Raises
    ------
    RunError
        If the file is damaged, names a type that is not trusted, or a cache.
    """
    import skops.io

    try:
        unknown = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED))
        if unknown:
            raise RunError(
                f"{name} names types that are not trusted ({', '.join(unknown)}); it was not loaded"
            )
        pipeline = skops.io.loads(content, trusted=list(TRUSTED))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise RunError(f"{name} is not a saved model: {' '.join(str(error).split())}") from error
    if not isinstance(pipeline, Pipeline):
        raise RunError(f"{name} holds a {type(pipeline).__name__}, not a pipeline")
    if owner := _cached(pipeline):
        raise RunError(
            f"{name} was not loaded: {CACHE} of its {owner} is set, and a cache may hold code"
        )
    return pipeline


def _cached(pipeline: Pipeline) -> str | None:
    """Return the type of a part, fitted or not, that keeps a cache or would make one that does."""
    stack: list[Any] = [pipeline]
    seen = {id(pipeline)}
    while stack:
        part = stack.pop()
        attributes = getattr(part, "__dict__", None)
        if isinstance(attributes, dict) and _names_cache(attributes):
            return type(part).__name__
        for child in (*_children(part), *_children(attributes)):
            if id(child) not in seen and not isinstance(child, str | bytes | float | int):
                seen.add(id(child))
                stack.append(child)
    return None


def _names_cache(attributes: Mapping[str, Any]) -> bool:
    if attributes.get(CACHE) is not None:
        return True
    grids = [attributes.get(name) or () for name in GRIDS]
    listed = [grid for one in grids for grid in ([one] if isinstance(one, Mapping) else one)]
    return any(str(path).rpartition("__")[2] == CACHE for grid in listed for path in grid)


def _children(part: Any) -> Iterable[Any]:
    if isinstance(part, Mapping):
        return part.values()
    if isinstance(part, list | tuple | set | frozenset):
        return part
    if isinstance(part, np.ndarray) and part.dtype == object:
        return part.ravel().tolist()
    return ()
