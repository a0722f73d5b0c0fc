"""A run of a value model: folds, baselines, the final model, and what is written of them."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

import segexp.runs as runs
from segexp.config.schema import ExperimentConfig
from segexp.data.loading import Dataset
from segexp.engine.driver import Engine
from segexp.errors import ConfigError
from segexp.evaluation import Split, scores_table, timings_table
from segexp.metrics import summarise
from segexp.runs import RunWriter, without_nan
from segexp.saved_model import UnsafeModelError, dump_pipeline
from segexp.value.clv import CustomerValue
from segexp.value.judging import (
    Outcomes,
    ValueFold,
    decile_table,
    folds_table,
    frequency_table,
    judge_value,
    value_customers,
    value_matrix,
)
from segexp.value.models import BetaGeo, PurchaseModel

logger = logging.getLogger(__name__)

IN_SAMPLE = (
    "customers.parquet and value_matrix.csv come from the final model, which was fitted on the "
    "same customers; what it is worth on others, predictions.parquet and scores.csv say"
)


@dataclass(frozen=True)
class FinalValue:
    """The model of all customers, and what it says of them."""

    model: bytes | UnsafeModelError
    content: Mapping[str, Any]  # of the models, for JSON
    customers: pd.DataFrame
    surface: pd.DataFrame  # histories that the probability alive is drawn on, with it as `alive`


def fit_final(outcomes: Outcomes, pipeline: Pipeline, ids: pd.Series[Any]) -> FinalValue:
    """Fit a clone of a pipeline to the histories of all customers, and value all of them."""
    from segexp.value.figures import surface_grid

    with warnings.catch_warnings():  # the fits say it themselves, in `notes_`
        warnings.simplefilter("ignore")
        fitted = clone(pipeline).fit(outcomes.X)
    value: CustomerValue = fitted[-1]
    grid = surface_grid(outcomes.X)
    try:
        model: bytes | UnsafeModelError = dump_pipeline(fitted)
    except UnsafeModelError as error:  # a model of the user's own; what was measured stands
        model = error
    return FinalValue(
        model=model,
        content=describe_model(value, outcomes),
        customers=value_customers(value, outcomes.X, ids),
        surface=grid.assign(alive=value.purchases_.probability_alive(grid)),
    )


def describe_model(value: CustomerValue, outcomes: Outcomes) -> dict[str, Any]:
    """Return what is written down of the two fitted models."""
    purchases, spend = value.purchases_, value.spend_
    new = purchases.expected_of_new_customer(outcomes.days)
    return {
        "horizon_days": value.horizon_days,
        "period_days": value.period_days,
        "margin": value.margin,
        "discount_rate": value.discount_rate,
        "purchases": {
            **_fit(purchases),
            "time_unit_days": purchases.time_unit_days,
            "expected_of_new_customer": float(new),
        },
        "spend": {
            **_fit(spend),
            "mean_spend": spend.mean_spend_,
            "correlation_of_frequency_and_spend": spend.correlation_,
        },
        "notes": [*value.notes_, *_certainly_alive(purchases, outcomes)],
    }


def _certainly_alive(purchases: PurchaseModel, outcomes: Outcomes) -> list[str]:
    once = int((outcomes.X["repeats"] == 0).sum())
    if not isinstance(purchases, BetaGeo) or not once:
        return []
    return [
        f"BG/NBD takes the {once:,} customers without a repeat purchase to be customers still: in "
        f"this model nobody leaves without buying; Pareto/NBD (model=pareto_nbd) can doubt them"
    ]


def _fit(model: Any) -> dict[str, Any]:
    return {
        "model": type(model).__name__,
        "parameters": dict(model.parameters_),
        "standard_errors": dict(model.standard_errors_),
        "log_likelihood": model.log_likelihood_,
        "converged": model.converged_,
        "gradient_norm": model.gradient_norm_,
        "n_customers": model.n_customers_,
        "n_starts": model.n_starts_,
        "n_steps": model.n_steps_,
        "message": model.message_,
    }


def describe_holdout(
    folds: Sequence[ValueFold], baselines: Mapping[str, Sequence[ValueFold]], days: float
) -> dict[str, Any]:
    """Return what was expected of the held-out customers beside what happened.

    Totals are over all customers once; with repeats they are means over the repeats.
    """
    predictions = pd.concat([fold.predictions for fold in folds], ignore_index=True)
    n_repeats = len({fold.split.repeat for fold in folds})
    actual = predictions["actual_purchases"].sum() / n_repeats
    spend = predictions["actual_spend"].sum() / n_repeats
    return {
        "days": days,
        "n_customers": len(predictions) / n_repeats,
        "n_buyers": float((predictions["actual_purchases"] > 0).sum()) / n_repeats,
        "actual_purchases": float(actual),
        "predicted_purchases": _total(folds, "expected_purchases"),
        "actual_spend": float(spend),
        "predicted_spend": _total(folds, "expected_revenue"),
        "baselines": {
            name: {
                "predicted_purchases": _total(found, "expected_purchases"),
                "predicted_spend": _total(found, "expected_revenue"),
            }
            for name, found in baselines.items()
        },
        "by_frequency": frequency_table(predictions).to_dict("records"),
    }


def _total(folds: Sequence[ValueFold], column: str) -> float:
    n_repeats = len({fold.split.repeat for fold in folds})
    return float(sum(fold.predictions[column].sum() for fold in folds)) / n_repeats


def draw_value(
    deciles: pd.DataFrame,
    frequencies: pd.DataFrame,
    matrix: pd.DataFrame | None,
    surface: pd.DataFrame | None,
) -> dict[str, bytes]:
    """Return the figures of a run as file name -> content."""
    # Here, so that only a process that draws loads matplotlib.
    from segexp.figures.look import render
    from segexp.value.figures import (
        alive_surface,
        decile_calibration,
        frequency_calibration,
        matrix_heatmap,
    )

    drawn = {
        "calibration_deciles": decile_calibration(deciles),
        "calibration_by_frequency": frequency_calibration(frequencies),
    }
    if matrix is not None:
        drawn["value_matrix"] = matrix_heatmap(matrix)
    if surface is not None and surface["alive"].min() < 1:
        drawn["probability_alive"] = alive_surface(surface, surface["alive"].to_numpy())
    return {
        f"{name}.{kind}": content
        for name, figure in drawn.items()
        for kind, content in render(figure).items()
    }


class ValueWork:
    """The computations of a run of a value model; a resumed one computes again.

    Parameters
    ----------
    config : ExperimentConfig
    pipeline : Pipeline
        Unfitted; its last step is a :class:`~segexp.value.clv.CustomerValue`.
    baselines : mapping of name to Pipeline
    dataset : Dataset
        With ``outcome`` and ``holdout_days``.
    splits : sequence of Split
    count : callable
        Told of each task that is done.
    priority : tuple of int
        Of the tasks; lower ones go first.

    Attributes
    ----------
    model : bytes, UnsafeModelError or None
        The pipeline fitted on all customers, as it is saved; None before :meth:`finish` and
        without ``evaluation.final_model``.

    Raises
    ------
    ConfigError
        If nothing is known of what customers did later.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        pipeline: Pipeline,
        baselines: Mapping[str, Pipeline],
        dataset: Dataset,
        splits: Sequence[Split],
        writer: RunWriter,
        engine: Engine,
        count: Callable[[int, str], None],
        priority: tuple[int, ...],
    ) -> None:
        if dataset.outcome is None or dataset.holdout_days is None:
            raise ConfigError(
                f"model={config.model.name} is judged by what customers did later; say "
                f"dataset.transactions.calibration_end=YYYY-MM-DD, a day before the log ends"
            )
        self._config, self._splits = config, splits
        self._pipelines = {"": pipeline, **baselines}
        self._ids = dataset.ids
        self._writer, self._engine = writer, engine
        self._count, self._priority = count, priority
        self._outcomes = Outcomes(
            X=dataset.X,
            purchases=dataset.outcome["purchases"].to_numpy(dtype=np.float64),
            spend=dataset.outcome["spend"].to_numpy(dtype=np.float64),
            days=float(dataset.holdout_days),
        )
        self.shared = engine.share(self._outcomes, f"value {dataset.fingerprint} {id(dataset.X)}")
        self.model: bytes | UnsafeModelError | None = None

    @property
    def n_tasks(self) -> int:
        """Fits, and the figures."""
        n_fits = len(self._pipelines) * len(self._splits) + self._config.evaluation.final_model
        return n_fits + 1

    async def finish(self) -> None:
        """Judge the model and the baselines on all folds, fit all customers, write the results."""
        judged, final = await asyncio.gather(self._judge_all(), self._fit_final())
        own = judged.pop("")
        self._write_folds(own, judged)
        predictions = pd.concat([fold.predictions for fold in own], ignore_index=True)
        deciles = decile_table(predictions)
        self._writer.write_csv(runs.DECILES, deciles)
        content: dict[str, Any] = {"holdout": describe_holdout(own, judged, self._outcomes.days)}
        matrix = surface = None
        if final is not None:
            matrix, surface = value_matrix(final.customers), final.surface
            self._writer.write_parquet(runs.CUSTOMERS, final.customers)
            self._writer.write_csv(runs.VALUE_MATRIX, matrix)
            content = {**final.content, "in_sample": IN_SAMPLE, **content}
            self.model = final.model
        content["folds"] = _describe_folds(own)
        content["notes"] = [*content.get("notes", []), *self._notes(own, predictions)]
        self._writer.write_json(runs.VALUE, without_nan(content))
        await self._draw(deciles, frequency_table(predictions), matrix, surface)

    async def _judge_all(self) -> dict[str, list[ValueFold]]:
        tasks = [(name, i) for name in self._pipelines for i in range(len(self._splits))]
        found = await asyncio.gather(*(self._judge(name, i) for name, i in tasks))
        n = len(self._splits)
        return {name: found[i * n : (i + 1) * n] for i, name in enumerate(self._pipelines)}

    async def _judge(self, name: str, i: int) -> ValueFold:
        place = len(self._splits) + 1 if name else i
        fold = await self._engine.run(
            judge_value, self.shared, self._pipelines[name], self._splits[i],
            priority=(*self._priority, place),
        )  # fmt: skip
        for message in fold.warnings:
            logger.warning("%s, fold %d: %s", name or self._name, fold.split.fold, message)
        self._count(1, name or self._name)
        return fold

    @property
    def _name(self) -> str:
        return self._config.model.name

    async def _fit_final(self) -> FinalValue | None:
        if not self._config.evaluation.final_model:
            return None
        final = await self._engine.run(
            fit_final, self.shared, self._pipelines[""], self._ids,
            priority=(*self._priority, len(self._splits)),
        )  # fmt: skip
        self._count(1, "the final model")
        return final

    def _write_folds(
        self, own: Sequence[ValueFold], baselines: Mapping[str, Sequence[ValueFold]]
    ) -> None:
        writer = self._writer
        scores = _scores(own)
        writer.write_parquet(runs.PREDICTIONS, folds_table(own, self._ids))
        writer.write_csv(runs.SCORES, scores)
        writer.write_json(runs.SUMMARY, without_nan(summarise(scores)))
        writer.write_csv(runs.TIMINGS, timings_table(own))
        if baselines:
            tables = [_scores(f).assign(baseline=name) for name, f in baselines.items()]
            columns = ["baseline", "repeat", "fold", "metric", "value"]
            writer.write_csv(runs.BASELINES, pd.concat(tables, ignore_index=True)[columns])

    def _notes(self, own: Sequence[ValueFold], predictions: pd.DataFrame) -> list[str]:
        notes = []
        if failed := sum(not fold.converged for fold in own):
            notes.append(f"{failed} of {len(own)} folds did not converge; see {runs.LOG}")
        if not predictions["actual_purchases"].any():
            notes.append("nobody bought in the holdout period: bias and shares are not defined")
        tenure = float(self._outcomes.X["tenure"].max())
        if self._outcomes.days > 1.1 * tenure:
            notes.append(
                f"the holdout period ({self._outcomes.days:,.0f} days) is longer than what was "
                f"seen of any customer ({tenure:,.0f} days)"
            )
        return notes

    async def _draw(
        self,
        deciles: pd.DataFrame,
        frequencies: pd.DataFrame,
        matrix: pd.DataFrame | None,
        surface: pd.DataFrame | None,
    ) -> None:
        figures = await self._engine.run(
            draw_value, deciles, frequencies, matrix, surface,
            priority=(*self._priority, len(self._splits) + 2),
        )  # fmt: skip
        self._writer.make_folder(runs.FIGURES)
        for name, content in figures.items():
            self._writer.write_bytes(f"{runs.FIGURES}/{name}", content)
        self._count(1, "figures")


def _scores(folds: Sequence[ValueFold]) -> pd.DataFrame:
    return scores_table((fold.split, fold.scores) for fold in folds)


def _describe_folds(folds: Sequence[ValueFold]) -> list[dict[str, Any]]:
    return [
        {
            "repeat": fold.split.repeat,
            "fold": fold.split.fold,
            "converged": fold.converged,
            "parameters": dict(fold.parameters),
        }
        for fold in folds
    ]
