"""What the engine costs for each task, what it sends, and what a second worker brings.

bytes per task
    What is pickled for one task that takes a table and a row number, with the table as it is and
    with `engine.share`.
overhead
    Time for each of N tasks that do nothing, all awaited at once; after a warm-up.
scaling
    Fits of about 0.2 s on one worker and on two, side by side in each round, so that a busy
    machine slows both.

    .venv/bin/python scripts/bench_engine.py [N] [ROUNDS]
"""

from __future__ import annotations

import asyncio
import pickle
import statistics
import sys
import time

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from segexp.config.schema import EngineConfig
from segexp.engine.cluster import StartEvent
from segexp.engine.driver import Engine, open_engine
from segexp.engine.orders import SharedFile, make_order, obey
from segexp.engine.processes import Marker
from segexp.engine.tasks import Task

FITS = 16
INLINE = EngineConfig(name="local", n_jobs=1, threads=1, address=None)
ONE, TWO = (
    {
        name: EngineConfig(name=name, n_jobs=n_jobs, threads=1, address=None)
        for name in ("local", "dask")
    }
    for n_jobs in (1, 2)
)


def make_table() -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(4000, 12))).add_prefix("x")
    return table, (table["x0"] + rng.normal(size=4000) > 0).to_numpy().astype(int)


def nothing(number: int) -> int:
    return number


def take(table: pd.DataFrame, number: int) -> int:
    return number


def fit(X: pd.DataFrame, y: np.ndarray, seed: int) -> float:
    forest = RandomForestClassifier(15, max_depth=8, random_state=seed, n_jobs=1)
    return float(forest.fit(X, y).predict_proba(X)[0, 0])


async def start_workers(engine: Engine) -> None:
    # A task with a time limit runs in a process, also with one job.
    warm = (engine.run(fit, *make_table(), 0, timeout_s=600) for _ in range(4))
    await asyncio.gather(*warm)


async def time_nothing(engine: Engine, n: int) -> float:
    await asyncio.gather(*(engine.run(nothing, i) for i in range(20)))
    start = time.perf_counter()
    values = await asyncio.gather(*(engine.run(nothing, i) for i in range(n)))
    if values != list(range(n)):
        raise SystemExit("bench_engine: tasks were lost")
    return (time.perf_counter() - start) / n


async def time_fits(engine: Engine) -> tuple[float, list[float]]:
    X, y = make_table()
    X_shared, y_shared = engine.share(X, "X"), engine.share(y, "y")
    await engine.run(fit, X_shared, y_shared, 0)
    start = time.perf_counter()
    runs = (engine.run(fit, X_shared, y_shared, seed) for seed in range(FITS))
    values = await asyncio.gather(*runs)
    return time.perf_counter() - start, values


async def show_bytes() -> None:
    table, _ = make_table()
    async with open_engine(INLINE) as engine:
        shared = engine.share(table, "table")
        print(f"{'bytes per task':28s}{'by value':>12s}{'shared':>12s}{'ratio':>10s}")
        ways = (
            (
                "loky",
                Marker("/tmp/segexp-12345678/task-100"),
                SharedFile("/tmp/segexp-12345678/s-1"),
            ),
            ("dask", StartEvent("segexp-10000-140000000000000", 100), "ndarray-" + 32 * "0"),
        )
        for name, started, reference in ways:
            sizes = []
            for arg in (table, shared):
                outcome = asyncio.get_running_loop().create_future()
                task = Task((0,), 0, take, (arg, 1), None, outcome)
                order, values = make_order(task, 1, started)
                sizes.append(len(pickle.dumps((obey, order, *[reference for _ in values]))))
            by_value, by_reference = sizes
            ratio = by_value / by_reference
            print(f"  {name:26s}{by_value:12,d}{by_reference:12,d}{ratio:9.0f}x")


async def show_overhead(n: int) -> None:
    print(f"{f'overhead, {n} tasks':28s}{'ms/task':>12s}{'start, s':>12s}")
    for name, config in (("inline", INLINE), ("loky, 2", TWO["local"]), ("dask, 2", TWO["dask"])):
        start = time.perf_counter()
        async with open_engine(config) as engine:
            if config is not INLINE:
                await start_workers(engine)
            started = time.perf_counter() - start
            ms = 1000 * await time_nothing(engine, n)
        print(f"  {name:26s}{ms:12.3f}{started:12.2f}", flush=True)


async def show_scaling(rounds: int) -> None:
    print(f"{f'scaling, {FITS} fits':28s}{'1 worker, s':>12s}{'2 workers':>12s}{'ratio':>10s}")
    for name in ("local", "dask"):
        async with open_engine(ONE[name]) as one, open_engine(TWO[name]) as two:
            await asyncio.gather(start_workers(one), start_workers(two))
            pairs = []
            for _ in range(rounds):
                (alone, expected), (both, values) = await time_fits(one), await time_fits(two)
                if values != expected:
                    raise SystemExit("bench_engine: two workers say something else")
                pairs.append((alone, both))
        alone, both = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratios = sorted(alone / both for alone, both in pairs)
        print(
            f"  {'loky' if name == 'local' else name:26s}{alone:12.2f}{both:12.2f}"
            f"{statistics.median(ratios):9.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


async def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    await show_bytes()
    await show_overhead(n)
    await show_scaling(rounds)


if __name__ == "__main__":
    asyncio.run(main())
