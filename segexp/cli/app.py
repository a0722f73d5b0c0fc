"""What each command takes; what it does is in the module of its name."""

from __future__ import annotations

from typing import Annotated

import typer

from segexp import __version__

app = typer.Typer(
    name="segexp",
    help="Config-driven experiments for customer segmentation.",
    epilog="Start with: segexp run    (the embedded demo customers, LightGBM, five folds)",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    name="data", help="Known data sets: list them, fetch them.", no_args_is_help=True
)
app.add_typer(data_app)

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WORDS]...",
        help="Hydra overrides: group=option, key=value, +key=value, ~key.",
        show_default=False,
    ),
]
ConfigDir = Annotated[
    str | None,
    typer.Option(
        "--config-dir",
        metavar="DIR",
        help="A folder of your own options; ./conf is found by itself.",
        show_default=False,
    ),
]


Like = Annotated[
    str | None,
    typer.Option(
        "--like", metavar="DIR", show_default=False,
        help="Take the words of this run, too; those typed here replace them.",
    ),
]  # fmt: skip
Force = Annotated[
    bool, typer.Option("--force", help="Repeat what was done already.", show_default=False)
]


MetricName = Annotated[
    str | None,
    typer.Option("--metric", metavar="NAME", help="The metric that ranks.", show_default=False),
]
Every = Annotated[bool, typer.Option("--all", help="Every row, key, metric and test.")]
Rope = Annotated[
    float, typer.Option("--rope", help="Differences up to this count as equal in p_better.")
]
Replace = Annotated[
    bool, typer.Option("--force", help="Replace a file that is there.", show_default=False)
]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"segexp {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log to the terminal what goes to run.log.")
    ] = False,
) -> None:
    """Config-driven experiments for customer segmentation."""
    if verbose:
        from segexp.cli.console import log_to_terminal

        log_to_terminal()


@app.command(epilog="Example: segexp run dataset=automobile model=random_forest run.seed=1")
def run(
    words: Words = None,
    config_dir: ConfigDir = None,
    like: Like = None,
    force: Force = False,
    multirun: Annotated[
        bool, typer.Option("-m", help="The same as `segexp sweep`.", show_default=False)
    ] = False,
) -> int:
    """Evaluate one pipeline on rows it never saw, and leave a run directory."""
    from segexp.cli.run import execute_run, execute_sweep

    execute = execute_sweep if multirun else execute_run
    return execute(words or [], config_dir, like=like, force=force)


@app.command(epilog="Example: segexp sweep model=lightgbm,xgboost preprocessing=minimal,standard")
def sweep(
    words: Words = None, config_dir: ConfigDir = None, like: Like = None, force: Force = False
) -> int:
    """Run every cell of a grid side by side, and print one table."""
    from segexp.cli.run import execute_sweep

    return execute_sweep(words or [], config_dir, like=like, force=force)


@app.command(epilog="Example: segexp resume outputs/sweeps/20261121T101500Z-4cells-1f2e3d4c")
def resume(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="A run or a sweep directory.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORDS]...",
            help="Another budget or engine: search.n_trials=N, engine.n_jobs=N.",
            show_default=False,
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed trials and cells again.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even if its process seems to be alive.")
    ] = False,
) -> int:
    """Continue a run or a sweep that was stopped, or give a search more trials."""
    from segexp.cli.resume import execute_resume

    return execute_resume(folder, words or [], retry_failed=retry_failed, force=force)


@app.command(
    epilog="Example: segexp rerun outputs/demo/20261121T101500Z-standard-lightgbm-none-1f2e3d4c"
)
def rerun(
    run: Annotated[str, typer.Argument(metavar="DIR", help="A completed run or a sweep.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORDS]...", help="Another engine: engine.n_jobs=N.", show_default=False
        ),
    ] = None,
) -> int:
    """Run the recorded config, or each of a sweep, again; say whether the numbers are the same."""
    from segexp.cli.resume import execute_rerun

    return execute_rerun(run, words or [])


@app.command(epilog="Example: segexp plan dataset=automobile model=lightgbm,svm")
def plan(words: Words = None, config_dir: ConfigDir = None, like: Like = None) -> int:
    """Check every cell of a run or a grid and count its fits; run nothing."""
    from segexp.cli.plan import execute

    return execute(words or [], config_dir, like=like)


@app.command(epilog="Example: segexp config model=svm model.estimator.estimator.C=3")
def config(words: Words = None, config_dir: ConfigDir = None) -> int:
    """Print the composed, validated config."""
    from segexp.cli.config import execute

    return execute(words or [], config_dir)


@app.command(epilog="Example: segexp options model")
def options(
    group: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", help="One config group.", show_default=False)
    ] = None,
    config_dir: ConfigDir = None,
) -> int:
    """List what can be chosen in each config group."""
    from segexp.cli.options import execute

    return execute(group, config_dir)


@app.command(epilog="Example: segexp ls outputs/automobile")
def ls(
    folder: Annotated[str, typer.Argument(metavar="[DIR]", help="A folder of runs.")] = "outputs",
) -> int:
    """List runs with status, metric and age, the newest last."""
    from segexp.cli.ls import execute

    return execute(folder)


@app.command(
    epilog="Example: segexp show outputs/demo/20261121T101500Z-standard-lightgbm-none-1f2e3d4c"
)
def show(
    run: Annotated[str, typer.Argument(metavar="DIR", help="A run or a sweep directory.")],
) -> int:
    """Show one run in full."""
    from segexp.cli.show import execute

    return execute(run)


@app.command(epilog="Example: segexp compare outputs/automobile --html comparison.html")
def compare(
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DIR]...",
            help="Runs, sweeps, globs or folders with runs below; outputs without any.",
            show_default=False,
        ),
    ] = None,
    metric: MetricName = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="RUN",
            help="Compare with this row instead of the best: a run, or a baseline such as dummy.",
            show_default=False,
        ),
    ] = None,
    every: Every = False,
    alpha: Annotated[float, typer.Option("--alpha", help="Level of the tests.")] = 0.05,
    rope: Rope = 0.01,
    csv: Annotated[
        bool,
        typer.Option("--csv", help="Print CSV; a word FILE.csv is where it goes instead."),
    ] = False,
    md: Annotated[bool, typer.Option("--md", help="Print Markdown, or write FILE.md.")] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX, or write FILE.tex.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, or write FILE.json.")] = False,
    html: Annotated[
        str | None,
        typer.Option(
            "--html", metavar="FILE", help="Write one page to sort and filter.", show_default=False
        ),
    ] = None,
    force: Replace = False,
) -> int:
    """Rank runs by paired tests on the same folds, and say which are not separable."""
    from segexp.cli.compare import execute

    asked = {"csv": csv, "md": md, "latex": latex, "json": json}
    return execute(
        folders or [], metric=metric, baseline=baseline, every=every, alpha=alpha, rope=rope,
        formats=[name for name, wanted in asked.items() if wanted], html=html, force=force,
    )  # fmt: skip


@app.command(epilog="Example: segexp diff outputs/demo/RUN outputs/demo/ANOTHER --png folds.png")
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A completed run directory.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    metric: MetricName = None,
    every: Every = False,
    rope: Rope = 0.01,
    png: Annotated[
        str | None,
        typer.Option("--png", metavar="FILE", help="Draw the folds.", show_default=False),
    ] = None,
    svg: Annotated[
        str | None,
        typer.Option("--svg", metavar="FILE", help="Draw the folds.", show_default=False),
    ] = None,
    force: Replace = False,
) -> int:
    """Show what two runs differ in: config, metrics fold by fold, data, environment."""
    from segexp.cli.diff import execute

    return execute(a, b, metric=metric, rope=rope, every=every, png=png, svg=svg, force=force)


@app.command(epilog="Example: segexp report outputs/mall/RUN")
def report(
    folders: Annotated[
        list[str],
        typer.Argument(metavar="DIR...", help="A run or a sweep; several are compared."),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The page; report.html in DIR by default.",
            show_default=False,
        ),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            "--names",
            metavar="FILE",
            help="A YAML file, segment: name; names.yaml in DIR is one.",
            show_default=False,
        ),
    ] = None,
    figures: Annotated[
        str | None,
        typer.Option(
            "--figures",
            metavar="FOLDER",
            help="Also every figure of a run, as SVG and PNG.",
            show_default=False,
        ),
    ] = None,
    mute: Annotated[
        list[str] | None,
        typer.Option("--mute", metavar="CODE", help="Leave a check out.", show_default=False),
    ] = None,
    config_dir: ConfigDir = None,
    force: Replace = False,
) -> int:
    """Write one HTML page that shows, explains and advises: for managers first, then in full."""
    from segexp.cli.report import execute

    return execute(folders, output, names, mute or [], figures, force, config_dir)


@app.command(
    epilog="Example: segexp predict "
    "outputs/demo/20261121T101500Z-standard-lightgbm-none-1f2e3d4c new.csv -o segments.csv"
)
def predict(
    run: Annotated[str, typer.Argument(metavar="DIR", help="A completed run directory.")],
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A CSV, TSV or Parquet file.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORDS]...",
            help="Where TABLE is written in another way than the data of the run, for example "
            "dataset.separator=semicolon.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A .csv, .tsv or .parquet file; - is CSV on standard output.",
        ),
    ] = "-",
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT if it is there.", show_default=False)
    ] = False,
) -> int:
    """Give the customers of a table their segments by the model of a run."""
    from segexp.cli.predict import execute

    return execute(run, table, words or [], output, force=force)


@app.command(epilog="Example: segexp migrate outputs/mall/RUN customers_in_may.csv")
def migrate(
    run: Annotated[str, typer.Argument(metavar="DIR", help="A completed run that gives segments.")],
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="[TABLE]",
            help="The customers later, a CSV, TSV or Parquet file; a log needs none.",
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORDS]...",
            help="Another date of a log, dataset.transactions.reference_date=2011-12-10; "
            "thresholds, for example migration.psi_act=0.3.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A folder; in DIR by default.",
            show_default=False,
        ),
    ] = None,
    force: Replace = False,
) -> int:
    """Say who moved between segments since a run, and whether to segment again."""
    from segexp.cli.migrate import execute

    return execute(run, table, words or [], output, force=force)


@app.command(epilog='Example: eval "$(segexp completion bash)"')
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash or zsh.")],
) -> int:
    """Print the script that completes words, options, keys and run directories."""
    from segexp.cli.completion import execute

    return execute(shell)


@data_app.command("ls", epilog="Example: segexp data ls")
def data_ls(config_dir: ConfigDir = None) -> int:
    """List the known data sets and where their files are."""
    from segexp.cli.data import execute_ls

    return execute_ls(config_dir)


@data_app.command("fetch", epilog="Example: segexp data fetch automobile mall")
def data_fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets to download.")],
    config_dir: ConfigDir = None,
    force: Annotated[bool, typer.Option("--force", help="Download again.")] = False,
) -> int:
    """Download public data sets into the user cache, checked by their sha256."""
    from segexp.cli.data import execute_fetch

    return execute_fetch(names, config_dir, force=force)
