"""What judging segments costs for many customers, beside scikit-learn alone.

Both sides fit k-means with its defaults on made-up blobs (10 features, 8 centres), measure how
good the segments are and how stable they are over 20 bootstrap refits. Each measurement is a
process of its own, so that its peak memory is known.

segexp
    `Segmenter(KMeans)`, `internal_quality` (the six measures; the silhouette sampled above 20,000
    customers, with a standard error), refits by `segexp.engine` on two workers, `stability`
    (global and by segment).
scikit-learn
    `KMeans` on all cores, `silhouette_score`, `calinski_harabasz_score`, `davies_bouldin_score`,
    refits one after the other with `adjusted_rand_score`. Stopped after MINUTES.

Goal: above 100,000 customers the cost of segexp grows in proportion to them. Memory is that of
the process and, for segexp, twice that of the larger worker.

    .venv/bin/python scripts/bench_clustering.py [--minutes M] [CUSTOMERS ...]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs

CUSTOMERS = (10_000, 100_000, 1_000_000)
FEATURES = 10
SEGMENTS = 8
RESAMPLES = 20
STEPS = ("fit", "quality", "refits", "stability")
SIDES = ("segexp", "scikit-learn")


def make_customers(n: int) -> np.ndarray:
    return make_blobs(n, FEATURES, centers=SEGMENTS, cluster_std=4.0, random_state=0)[0]


def timed(seconds: dict[str, float], step: str, act: Callable[[], Any]) -> Any:
    start = time.perf_counter()
    result = act()
    seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start
    return result


def judge_with_segexp(Z: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    from segexp.clustering.quality import internal_quality
    from segexp.clustering.segmenter import Segmenter
    from segexp.clustering.stability import draw, resampled_labels, stability
    from segexp.config.schema import EngineConfig
    from segexp.engine.driver import open_engine

    async def refit_all() -> list[np.ndarray]:
        config = EngineConfig(name="local", n_jobs=2, threads=1, address=None)
        async with open_engine(config) as engine:
            shared = engine.share(Z, "Z")
            runs = (engine.run(resampled_labels, model, shared, i, 0) for i in range(RESAMPLES))
            return await asyncio.gather(*runs)

    seconds: dict[str, float] = {}
    model = Segmenter(KMeans(SEGMENTS, random_state=0))
    labels = timed(seconds, "fit", lambda: model.fit(Z).labels_)
    quality = timed(seconds, "quality", lambda: internal_quality(Z, labels))
    labelings = timed(seconds, "refits", lambda: asyncio.run(refit_all()))
    found = timed(
        seconds,
        "stability",
        lambda: stability(labels, labelings, [draw(len(Z), i, 0) for i in range(RESAMPLES)]),
    )
    return seconds, quality.values | {
        "silhouette_se": quality.silhouette_se,
        "ari": found.mean_ari,
        "lowest_jaccard": float(found.mean_jaccard.min()),
    }


def judge_with_scikit_learn(Z: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    from sklearn.metrics import (
        adjusted_rand_score,
        calinski_harabasz_score,
        davies_bouldin_score,
        silhouette_score,
    )

    def refit(resample: int) -> np.ndarray:
        rows = np.unique(np.random.default_rng(resample).integers(len(Z), size=len(Z)))
        return KMeans(SEGMENTS, random_state=0).fit(Z[rows]).predict(Z)

    seconds: dict[str, float] = {}
    labels = timed(seconds, "fit", lambda: KMeans(SEGMENTS, random_state=0).fit(Z).labels_)
    values = {
        score.__name__.removesuffix("_score"): timed(
            seconds, "quality", lambda s=score: s(Z, labels)
        )
        for score in (calinski_harabasz_score, davies_bouldin_score, silhouette_score)
    }
    labelings = [timed(seconds, "refits", lambda i=i: refit(i)) for i in range(RESAMPLES)]
    agreements = timed(
        seconds,
        "stability",
        lambda: [adjusted_rand_score(labels, others) for others in labelings],
    )
    return seconds, {name: float(value) for name, value in values.items()} | {
        "ari": float(np.mean(agreements))
    }


def measure(side: str, n: int) -> None:
    """Measure one side in this process and print what was found as JSON."""
    judge = judge_with_segexp if side == "segexp" else judge_with_scikit_learn
    seconds, values = judge(make_customers(n))
    own, workers = (
        resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    peak_mb = own + (2 * workers if side == "segexp" else 0)
    print(json.dumps({"seconds": seconds, "values": values, "peak_mb": peak_mb}))


def measured(side: str, n: int, minutes: float) -> dict[str, Any] | None:
    """Measure one side in a process of its own; None if it takes longer than ``minutes``."""
    command = [sys.executable, __file__, "--measure", side, str(n)]
    try:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        return None
    return json.loads(done.stdout.splitlines()[-1])


def show(side: str, n: int, found: dict[str, Any] | None, minutes: float) -> float | None:
    if found is None:
        print(f"{n:>10,d}  {side:14s}not within {minutes:g} min", flush=True)
        return None
    total = sum(found["seconds"].values())
    steps = "".join(f"{found['seconds'][step]:11.2f}" for step in STEPS)
    print(f"{n:>10,d}  {side:14s}{steps}{total:11.2f}{found['peak_mb']:12,.0f}", flush=True)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description="Judging segments: segexp beside scikit-learn.")
    parser.add_argument("customers", nargs="*", type=int, default=list(CUSTOMERS))
    parser.add_argument("--minutes", type=float, default=10, help="limit of each measurement")
    parser.add_argument("--measure", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, *args.customers)
        return

    heads = "".join(f"{step + ', s':>11s}" for step in (*STEPS, "all"))
    print(f"{'customers':>10s}  {'':14s}{heads}{'peak, MB':>12s}")
    ours: dict[int, float] = {}
    for n in args.customers:
        found = {side: measured(side, n, args.minutes) for side in SIDES}
        totals = {side: show(side, n, found[side], args.minutes) for side in SIDES}
        segexp, sklearn = (found[side] for side in SIDES)
        if segexp:
            values = segexp["values"]
            print(
                f"{'':12s}silhouette {values['silhouette']:.4f} ± {values['silhouette_se']:.4f}, "
                f"ARI {values['ari']:.3f}, lowest Jaccard {values['lowest_jaccard']:.3f}"
            )
            ours[n] = totals["segexp"] or 0.0
        if segexp and sklearn:
            values = sklearn["values"]
            print(
                f"{'':12s}scikit-learn: silhouette {values['silhouette']:.4f}, "
                f"ARI {values['ari']:.3f}; {totals['scikit-learn'] / totals['segexp']:.1f} times "
                f"the time and {sklearn['peak_mb'] / segexp['peak_mb']:.2f} times the memory"
            )
    for small, large in zip(list(ours), list(ours)[1:], strict=False):
        print(f"{large:,d} customers cost {ours[large] / ours[small]:.1f} times {small:,d}")


if __name__ == "__main__":
    main()
