"""How often the verdict on the number of segments is right, beside each criterion by itself.

Data sets with known labels: the batteries fcps and wut of clustering-data-v1 (Gagolewski 2022,
doi 10.5281/zenodo.7088171), some with several labelings. A choice is right where it is the number
of segments of one of them. Beside them data without segments, made here: there 1 is right.
K-means, Ward and a Gaussian mixture, 1 to MOST segments. Columns have one common scale, as in that
benchmark; larger sets are a seeded sample of ROWS. About ten minutes on two cores.

The weights of the votes and the thresholds of the criteria were chosen looking at these sets, so
the figures flatter the verdict: they describe, they do not prove. docs/choosing_k.md has figures of
rules that were tuned on one battery and judged on the other.

Two of 93 choices are 2 %: differences below about 10 % are noise. Bootstrap stability by itself
finds about as many true numbers as the verdict, but never that there are none; a verdict that
gives it two votes finds a few more of them and segments in every third set without any.

    SEGEXP_DATA_DIR=... .venv/bin/python scripts/bench_verdict.py [--rows ROWS] [--cache FOLDER]
"""

from __future__ import annotations

import argparse
import os
import zlib
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from segexp.clustering.choose_k import assess, decide, hopkins
from segexp.clustering.segmenter import Segmenter

CLUSTERERS = {
    "k-means": (KMeans(n_init=3), "n_clusters"),
    "Ward": (AgglomerativeClustering(), "n_clusters"),
    "GMM": (GaussianMixture(), "n_components"),
}
BATTERIES = ("fcps", "wut")
NULL = "no segments"
NULLS = {f"{kind} {d}-d": (kind, d) for kind in ("uniform", "blob", "skewed") for d in (2, 5)}


def list_sets(folder: Path) -> dict[tuple[str, str], Path | None]:
    found: dict[tuple[str, str], Path | None] = {
        (battery, path.name.removesuffix(".data.gz")): path
        for battery in BATTERIES
        for path in sorted((folder / battery).glob("*.data.gz"))
    }
    return found | {(NULL, name): None for name in NULLS}


def load(name: str, path: Path | None, rows: int) -> tuple[np.ndarray, set[int]]:
    """The table, and the numbers of segments of its labelings; label 0 is noise."""
    if path is None:
        kind, d = NULLS[name]
        rng = np.random.default_rng(d)
        return {
            "uniform": rng.uniform(size=(300, d)),
            "blob": rng.normal(size=(300, d)),
            "skewed": np.exp(0.5 * rng.normal(size=(300, d))),
        }[kind], {1}
    Z = np.loadtxt(path, ndmin=2)
    truths = set()
    for labels in path.parent.glob(f"{name}.labels*.gz"):
        truths.add(int(np.loadtxt(labels, dtype=int).max()))
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    some = rng.permutation(len(Z))[:rows]
    return (Z[some] - Z.mean(axis=0)) / Z.std(axis=0).max(), truths


def measure(
    key: tuple[str, str], path: Path | None, clusterer: str, args: argparse.Namespace
) -> pd.DataFrame:
    """The table of one set and clusterer; from the cache where it is there."""
    battery, name = key
    file = args.cache and Path(args.cache, f"{battery}-{name}-{clusterer}-{args.rows}.csv")
    if file and file.exists():
        return pd.read_csv(file, dtype={"truths": str})
    Z, truths = load(name, path, args.rows)
    estimator, parameter = CLUSTERERS[clusterer]
    with threadpool_limits(1):
        table = assess(
            Z,
            Segmenter(estimator),
            range(1, args.most + 1),
            parameter=parameter,
            n_references=args.references,
            n_resamples=args.resamples,
            n_splits=args.splits,
        )
    found = table.assign(
        battery=battery, set=name, clusterer=clusterer,
        truths=" ".join(map(str, sorted(truths))), hopkins=hopkins(Z, 0),
    )  # fmt: skip
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        found.to_csv(file, index=False)
    return found


def judge(found: pd.DataFrame) -> pd.DataFrame:
    """Long table: of each set and clusterer, what each criterion and the verdict chose."""
    rows: list[dict[str, Any]] = []
    for (battery, name, clusterer), table in found.groupby(["battery", "set", "clusterer"]):
        truths = {int(word) for word in str(table["truths"].iloc[0]).split()}
        verdict = decide(table, float(table["hopkins"].iloc[0]))
        chosen = dict(zip(verdict.choices["criterion"], verdict.choices["k"], strict=True))
        # As most notebooks do it: the largest silhouette, also at the edge of what was measured.
        always = int(table.loc[table["silhouette"].idxmax(), "k"])
        for criterion, k in {
            "verdict": verdict.k, "always the silhouette": always, **chosen
        }.items():  # fmt: skip
            right = bool(pd.notna(k) and k in truths)
            rows.append(
                {"battery": battery, "set": name, "clusterer": clusterer, "criterion": criterion,
                 "k": k, "truths": truths, "right": right}
            )  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--most", type=int, default=11)
    parser.add_argument("--references", type=int, default=8)
    parser.add_argument("--resamples", type=int, default=10)
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--cache", help="folder for the measured tables, read again next time")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--each", action="store_true", help="print every choice")
    args = parser.parse_args()
    sets = list_sets(Path(os.environ["SEGEXP_DATA_DIR"], "clustering-data-v1"))
    with ProcessPoolExecutor(args.jobs) as pool:
        waiting = [
            pool.submit(measure, key, path, clusterer, args)
            for clusterer in CLUSTERERS
            for key, path in sets.items()
        ]
        found = pd.concat([task.result() for task in waiting], ignore_index=True)
    judged = judge(found)
    if args.each:
        wide = judged.pivot(index=["battery", "clusterer", "set"], columns="criterion", values="k")
        print(wide.to_string(), "\n")
    shares = judged.pivot_table(
        index="criterion", columns=["battery", "clusterer"], values="right", observed=True
    )
    labelled = judged[judged["battery"] != NULL]
    by_battery = judged.groupby(["criterion", "battery"])["right"].mean().unstack()
    table = (100 * shares).round(0)
    table.columns = [" ".join(column) for column in table.columns]
    for battery in by_battery:
        table[battery] = (100 * by_battery[battery]).round(0)
    table["labelled sets"] = (100 * labelled.groupby("criterion")["right"].mean()).round(1)
    print("right choices, % (k-means, Ward and GMM together in the last columns)")
    print(table.sort_values("labelled sets", ascending=False).to_string())


if __name__ == "__main__":
    main()
