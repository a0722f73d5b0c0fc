"""What mining rules costs, beside mlxtend alone.

Both sides mine Groceries (9,835 baskets, 169 items), repeated 1, 10 and 100 times, with a support
of 0.001 and a confidence of 0.8. Each measurement is a process of its own, so that its peak memory
is known; that of a process which only reads the baskets and imports the libraries is taken off.

segexp
    `AssociationRules`: itemsets and rules with all measures, exact tests, q-values, redundancy.
segexp-fpgrowth
    The same with algorithm=fpgrowth: mlxtend's tree, fed with different baskets and their counts.
mlxtend
    `fpgrowth` on a DataFrame of booleans, and `association_rules`.
mlxtend-sparse
    The same on a sparse DataFrame.

The repeated baskets favour the trees, which grow with the different baskets alone.

    .venv/bin/python scripts/bench_baskets.py [--minutes M] [--runs N] [REPEATS ...]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix, vstack

REPEATS = (1, 10, 100)
SIDES = ("segexp", "segexp-fpgrowth", "mlxtend", "mlxtend-sparse")
SUPPORT, CONFIDENCE = 0.001, 0.8


def read_baskets(repeats: int) -> tuple[csr_matrix, list[str]]:
    folder = os.environ.get("SEGEXP_DATA_DIR")
    if not folder:
        sys.exit("set SEGEXP_DATA_DIR to the folder that holds groceries_arules/groceries.csv")
    lines = Path(folder, "groceries_arules", "groceries.csv").read_text().splitlines()
    baskets = [[item.strip() for item in line.split(",")] for line in lines]
    items = sorted({item for basket in baskets for item in basket})
    number = {item: i for i, item in enumerate(items)}
    rows = np.repeat(np.arange(len(baskets)), [len(basket) for basket in baskets])
    columns = [number[item] for basket in baskets for item in basket]
    shape = (len(baskets), len(items))
    matrix = csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=shape)
    return vstack([matrix] * repeats, format="csr"), items


def mine_with_segexp(matrix: csr_matrix, items: list[str], algorithm: str) -> int:
    from segexp.baskets.rules import AssociationRules

    return len(AssociationRules(SUPPORT, CONFIDENCE, algorithm=algorithm).fit(matrix, items).rules_)


def mine_with_mlxtend(matrix: csr_matrix, items: list[str], is_sparse: bool) -> int:
    from mlxtend.frequent_patterns import association_rules, fpgrowth

    if is_sparse:
        frame = pd.DataFrame.sparse.from_spmatrix(matrix, columns=items)
    else:
        frame = pd.DataFrame(matrix.toarray(), columns=items)
    found = fpgrowth(frame, min_support=SUPPORT, use_colnames=True)
    rules = association_rules(
        found, num_itemsets=matrix.shape[0], metric="confidence", min_threshold=CONFIDENCE
    )
    return int((rules["consequents"].map(len) == 1).sum())


def measure(side: str, repeats: int) -> None:
    """Print seconds, processor seconds, peak memory above the baskets, and the number of rules."""
    import mlxtend.frequent_patterns  # noqa: F401

    import segexp.baskets.rules  # noqa: F401

    matrix, items = read_baskets(repeats)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, cpu = time.perf_counter(), time.process_time()
    if side.startswith("segexp"):
        algorithm = "fpgrowth" if side.endswith("fpgrowth") else "apriori"
        n_rules = mine_with_segexp(matrix, items, algorithm)
    else:
        n_rules = mine_with_mlxtend(matrix, items, side.endswith("sparse"))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([seconds, cpu_seconds, (after - before) / 1024, n_rules]))


def measured(side: str, repeats: int, minutes: float) -> list[float] | None:
    command = [sys.executable, __file__, "--measure", side, str(repeats)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60 * minutes, check=True
        )
    except subprocess.TimeoutExpired:
        return None
    return list(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("repeats", nargs="*", type=int, default=list(REPEATS))
    parser.add_argument("--minutes", type=float, default=10.0, help="limit of one measurement")
    parser.add_argument("--runs", type=int, default=3, help="measurements; the median counts")
    parser.add_argument("--measure", choices=SIDES)
    words = parser.parse_args()
    if words.measure:
        measure(words.measure, words.repeats[0])
        return
    print(f"{'baskets':>9} {'side':16} {'rules':>6} {'s':>8} {'cpu s':>8} {'MB':>7}  ratio (cpu)")
    for repeats in words.repeats:
        first = None
        for side in SIDES:
            found = [measured(side, repeats, words.minutes) for _ in range(words.runs)]
            done = [one for one in found if one is not None]
            if not done:
                print(f"{9835 * repeats:9,} {side:16} more than {words.minutes:g} minutes")
                continue
            seconds, cpu, memory, n_rules = (
                statistics.median(column) for column in zip(*done, strict=True)
            )
            first = first or cpu
            print(
                f"{9835 * repeats:9,} {side:16} {n_rules:6,.0f} {seconds:8.2f} {cpu:8.2f} "
                f"{memory:7.0f}  {cpu / first:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
