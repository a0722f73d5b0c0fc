"""How fast a log of purchases becomes recency, frequency and monetary value per customer.

    python scripts/bench_rfm.py --lines 1e6 1e7
    python scripts/bench_rfm.py --lines 1e8 --contenders segexp duckdb --memory-limit 1GB

The lines are made by DuckDB (seeded) and lie in a Parquet file: orders of one to seven lines, in
the order of time, 50 lines per customer. Each contender reads the file and counts the different
orders of each customer, in a process of its own (the code in the manner of lifetimes counts days);
its time is that of the work without imports, its memory the peak of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTENDERS = ("segexp", "pandas", "lifetimes", "duckdb")
BYTES_PER_LINE = 60  # of disk: the file, and what is spilled beside it
LINES_PER_CUSTOMER = 50
SEED = 7


def main() -> int:
    args = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the folder is removed
    if args.contender:
        print(json.dumps(measure(args.contender, Path(args.file), args.memory_limit)))
        return 0
    for lines in args.lines:
        bench(int(lines), args)
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", type=float, nargs="+", default=[1e6, 1e7])
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--timeout", type=float, default=900, help="seconds for each contender")
    parser.add_argument("--memory-limit", help="of segexp's DuckDB, e.g. 1GB")
    parser.add_argument("--folder", help="where the lines are kept while it runs")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    return parser.parse_args()


def bench(n_lines: int, args: argparse.Namespace) -> None:
    folder = args.folder or tempfile.gettempdir()
    needed, free = n_lines * BYTES_PER_LINE, shutil.disk_usage(folder).free
    if needed > free:
        sys.exit(f"{n_lines:,} lines need {needed / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} free")
    with tempfile.TemporaryDirectory(prefix="bench-rfm-", dir=folder) as made:
        file = Path(made, "lines.parquet")
        generate(n_lines, file)
        print(f"\n{n_lines:,} lines, {file.stat().st_size / 1e6:.0f} MB of Parquet")
        results = {name: run(name, file, args) for name in args.contenders}
    show(results)


def generate(n_lines: int, file: Path) -> None:
    import duckdb

    duckdb.connect(config={"threads": 2}).execute(
        f"""
        COPY (
            SELECT CAST(hash(ord + {SEED}) % {max(n_lines // LINES_PER_CUSTOMER, 1)} AS BIGINT)
                       AS customer,
                   CAST(ord AS BIGINT) AS "order",
                   TIMESTAMP '2020-01-01' + to_seconds(CAST(ord * 94608000.0 / {n_lines} * 4
                       AS BIGINT)) AS date,
                   CAST(1 + hash(line * 5 + {SEED}) % 6 AS INTEGER) AS quantity,
                   (99 + hash(line * 7 + {SEED}) % 9000) / 100.0::DOUBLE AS price
            FROM (SELECT line, (line + hash(line // 8) % 4) // 4 AS ord
                  FROM range({n_lines}) lines(line))
        ) TO '{file}' (FORMAT parquet, COMPRESSION zstd)
        """
    )


def run(name: str, file: Path, args: argparse.Namespace) -> dict[str, Any] | str:
    command = [sys.executable, __file__, "--contender", name, "--file", str(file)]
    if args.memory_limit:
        command += ["--memory-limit", args.memory_limit]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout)
    except subprocess.TimeoutExpired:
        return f"stopped after {args.timeout:g} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return f"failed: {lines[-1] if lines else f'signal {-done.returncode}'}"
    return json.loads(done.stdout.splitlines()[-1])


def show(results: dict[str, dict[str, Any] | str]) -> None:
    base = results.get("pandas")
    base = base if isinstance(base, dict) else {}
    print(f"{'':10} {'wall s':>8} {'cpu s':>8} {'peak MB':>8}  {'x faster':>9} {'x memory':>9}")
    for name, found in results.items():
        if isinstance(found, str):
            print(f"{name:10} {found}")
            continue
        faster = f"{base['wall_s'] / found['wall_s']:9.2f}" if base else f"{'-':>9}"
        memory = f"{found['peak_mb'] / base['peak_mb']:9.2f}" if base else f"{'-':>9}"
        print(
            f"{name:10} {found['wall_s']:8.2f} {found['cpu_s']:8.2f} {found['peak_mb']:8.0f}  "
            f"{faster} {memory}   {found['n_customers']} customers, {found['n_orders']:.0f} orders"
        )
    sums = {
        (found["n_customers"], found["n_orders"], round(found["revenue"]))
        for name, found in results.items()
        if isinstance(found, dict) and name != "lifetimes"  # which counts days
    }
    if len(sums) > 1:
        print(f"the contenders disagree: {sums}")


def measure(name: str, file: Path, memory_limit: str | None) -> dict[str, Any]:
    work: dict[str, Callable[[Path, str | None], Callable[[], tuple[int, float, float]]]] = {
        "segexp": with_segexp,
        "pandas": with_pandas,
        "lifetimes": as_lifetimes,
        "duckdb": with_duckdb,
    }
    prepared = work[name](file, memory_limit)
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    n_customers, n_orders, revenue = prepared()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes or kilobytes
    return {
        "wall_s": wall,
        "cpu_s": cpu,
        "peak_mb": after.ru_maxrss * unit / 1e6,
        "n_customers": int(n_customers),
        "n_orders": float(n_orders),
        "revenue": float(revenue),
    }


def with_segexp(file: Path, memory_limit: str | None) -> Callable[[], tuple[int, float, float]]:
    from segexp.config.compose import load_config
    from segexp.data.transactions import load_customers

    words = [
        "dataset=transactions", "dataset.reader=parquet", f"dataset.path='{file}'",
        *(f"dataset.transactions.{role}={role}" for role in
          ("customer", "order", "date", "quantity", "price")),
        f"dataset.transactions.memory_limit={memory_limit or 'null'}",
    ]  # fmt: skip
    config = load_config(words, [Path(__file__).resolve().parents[1] / "conf"]).dataset

    def work() -> tuple[int, float, float]:
        table = load_customers(config).table
        return len(table), table["frequency"].sum(), table["monetary"].sum()

    return work


def with_pandas(file: Path, memory_limit: str | None) -> Callable[[], tuple[int, float, float]]:
    import pandas as pd

    def work() -> tuple[int, float, float]:
        lines = pd.read_parquet(file, columns=["customer", "order", "date", "quantity", "price"])
        lines["amount"] = lines["quantity"] * lines["price"]
        table = lines.groupby("customer").agg(
            last=("date", "max"), frequency=("order", "nunique"), monetary=("amount", "sum")
        )
        table["recency"] = (lines["date"].max() - table["last"]).dt.days + 1
        return len(table), table["frequency"].sum(), table["monetary"].sum()

    return work


def as_lifetimes(file: Path, memory_limit: str | None) -> Callable[[], tuple[int, float, float]]:
    """One row per customer and day, the first of each customer marked, then one per customer."""
    import pandas as pd

    def work() -> tuple[int, float, float]:
        lines = pd.read_parquet(file, columns=["customer", "date", "quantity", "price"])
        lines["amount"] = lines["quantity"] * lines["price"]
        lines["day"] = lines["date"].dt.to_period("D")
        days = lines.groupby(["customer", "day"], sort=False)["amount"].sum().reset_index()
        first = days.groupby("customer")["day"].transform("min") == days["day"]
        days["later_amount"] = days["amount"].where(~first)
        table = days.groupby("customer").agg(
            first=("day", "min"),
            last=("day", "max"),
            days=("day", "count"),
            spend=("later_amount", "mean"),
            amount=("amount", "sum"),
        )
        table["span"] = (table["last"].dt.to_timestamp() - table["first"].dt.to_timestamp()).dt.days
        return len(table), table["days"].sum(), table["amount"].sum()

    return work


def with_duckdb(file: Path, memory_limit: str | None) -> Callable[[], tuple[int, float, float]]:
    import duckdb

    def work() -> tuple[int, float, float]:
        table = duckdb.connect(config={"threads": 2}).execute(
            'SELECT customer, max(date) AS last, count(DISTINCT "order") AS frequency, '
            "sum(quantity * price) AS monetary FROM read_parquet(?) GROUP BY customer",
            [str(file)],
        )
        found = table.fetchnumpy()
        return len(found["customer"]), found["frequency"].sum(), found["monetary"].sum()

    return work


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
