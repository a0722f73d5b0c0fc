"""One set of parameters and what the inner folds said of it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from segexp.search.fitting import Failure, FoldScore

RUNNING, COMPLETE, PRUNED = "RUNNING", "COMPLETE", "PRUNED"  # beside those of a failure

# Trials beside the budget: they repeat parameters that were suggested before.
FINALIST, RETRY = "finalist", "retry"


@dataclass
class Trial:
    """One set of parameters and what the inner folds said of it."""

    number: int
    index: int  # among the suggestions; of a finalist or a retry, that of the one that it repeats
    params: dict[str, Any]  # the active ones
    key: str
    origin: str  # default, grid, sampler, finalist or retry
    log_id: int
    start: datetime
    sign: float = 1.0  # of the first objective: 1 where more is better
    rounds: str | None = None  # the parameter that is a booster's number of rounds, if searched
    scores: list[FoldScore] = field(default_factory=list)  # in the order of folds
    n_inherited: int = 0  # scores of an earlier trial that this one goes on with
    state: str = RUNNING
    duplicate_of: int | None = None
    n_cut_off: int = 0  # processes that ended while they were at it
    # Metric -> number of scores and the values of their folds: every verdict asks for all trials'.
    _known: dict[int, tuple[int, list[float]]] = field(default_factory=dict, repr=False)

    @property
    def failure(self) -> Failure | None:
        """What went wrong, if something did."""
        return self.scores[-1].failure if self.scores else None

    @property
    def settled(self) -> dict[str, Any]:
        """The parameters that its value belongs to: with the rounds that were best."""
        rounds = self.n_iterations
        if self.rounds not in self.params or rounds is None:
            return self.params
        return {**self.params, str(self.rounds): rounds}

    @property
    def seconds(self) -> float:
        """What its own folds took."""
        own = [] if self.duplicate_of is not None else self.scores[self.n_inherited :]
        return sum(score.seconds for score in own)

    def fold_values(self, metric: int = 0) -> list[float]:
        """Return one metric of the folds that were judged.

        Of a booster that was judged at several numbers of rounds, at those that are best by the
        mean over these folds.
        """
        known = self._known.get(metric)
        if known is None or known[0] != len(self.scores):
            rounds, judged = self._best_rounds, self._judged
            values = [
                dict(s.stages)[rounds][metric] if rounds else s.values[metric] for s in judged
            ]
            known = self._known[metric] = len(self.scores), values
        return known[1]

    @property
    def _judged(self) -> list[FoldScore]:
        return [score for score in self.scores if score.failure is None]

    @property
    def _best_rounds(self) -> int | None:
        """The number of rounds that is best by the first objective; the fewest of equals."""
        judged = self._judged
        if not judged or not all(score.stages for score in judged):
            return None
        means = {
            rounds: statistics.fmean(dict(score.stages)[rounds][0] for score in judged)
            for rounds, _ in judged[0].stages
        }
        return max(means, key=lambda rounds: (self.sign * means[rounds], -rounds))

    def mean(self, metric: int) -> float:
        """Return the mean of a metric over the folds that were judged; NaN without any."""
        values = self.fold_values(metric)
        return statistics.fmean(values) if values else math.nan

    @property
    def n_iterations(self) -> int | None:
        """Rounds of a booster that count: the best ones judged, or the median of early stops."""
        if rounds := self._best_rounds:
            return rounds
        stops = [s.n_iterations for s in self._judged if s.n_iterations is not None]
        return round(statistics.median(stops)) if stops else None
