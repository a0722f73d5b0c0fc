"""What a run directory holds, read when it is asked for; nothing in it is trusted.

A file that is missing, damaged, too large or leads out of the directory is None, and
:meth:`Source.why` says why, so that a section can say it in place of its content.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

import segexp.runs as runs
from segexp.bounds import TooLargeError, too_large
from segexp.clustering.profile import NOISE
from segexp.errors import ConfigError, RunError, SegexpError
from segexp.metrics import METRICS_OF

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from segexp.segment_rules import SegmentRules

logger = logging.getLogger(__name__)

T = TypeVar("T")

NAMES = "names.yaml"  # beside the files of the run, of whoever names its segments
_MB = 2**20
_MOST = 256 * _MB  # of any file
_MOST_TEXT = 64 * _MB
_MOST_PICTURE = 8 * _MB
_MOST_DOTS = 50_000_000  # of a picture, once it is unpacked
MOST_SEGMENTS = 1_000
MOST_RULED = 100  # segments that a tree is grown for
_TRIED = 20  # values of a column that are exchanged, and customers besides
RULES = "segments as rules"  # what is asked for like a file, and made of several
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError)  # whatever the version
_PICTURES = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<"}  # how the files begin
_TEXTS = dict.fromkeys(
    ("segment", "antecedent", "consequent", "itemset", "feature", "kind", "id", "markers"), str
)


class _OtherVersionsError(RunError):
    """A saved model that libraries of other versions would read."""


def read_names(path: Path) -> dict[str, str]:
    """Return the names in a YAML file ``segment: name``.

    Raises
    ------
    ConfigError
        If it cannot be read, or holds something else.
    """
    from segexp.config.options import read_yaml

    names = read_yaml(path)
    for segment, name in names.items():
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"{path}: the name of segment {segment!r} must be text, got {name!r}")
    return {str(segment): name.strip() for segment, name in names.items()}


class Source:
    """The content of a run directory; every property is None where there is nothing to read.

    Parameters
    ----------
    run : Run
        Whose manifest is complete.

    Attributes
    ----------
    run : Run
    path : Path
    manifest : mapping
        Checked: it has what every run records before it computes anything.
    """

    def __init__(self, run: runs.Run) -> None:
        self.run = run
        self.path = run.path
        self.manifest: Mapping[str, Any] = run.manifest
        self._reasons: dict[str, str] = {}
        self._causes: dict[str, str] = {}
        self._not_read: set[str] = set()  # of the above, what may be in order

    @classmethod
    def open(cls, path: Path) -> Source:
        """Open a run directory.

        Raises
        ------
        RunError
            If there is none, or its manifest cannot be used.
        """
        if path.is_dir():
            reason = _unusable(path, runs.MANIFEST, _MOST_TEXT)
            if reason and (path / runs.MANIFEST).exists():
                raise RunError(f"{path / runs.MANIFEST} cannot be read: {reason}")
        run = runs.open_run(path)
        run.check_facts()
        task = run.manifest.get("task")
        if task not in METRICS_OF:
            raise RunError(f"{path / runs.MANIFEST}: task is missing or damaged: {task!r:.40}")
        if reason := _too_many(len(run.manifest["segments"])):
            raise RunError(f"{path / runs.MANIFEST}: {reason}")
        return cls(run)

    def why(self, name: str) -> str:
        """Return why a file of the run could not be read; empty if it could, or was not asked."""
        return self._reasons.get(name, "")

    def is_missing(self, name: str) -> bool:
        """Return whether a file was asked for and the run has none of this name."""
        return self._reasons.get(name) == _MISSING

    @property
    def problems(self) -> dict[str, str]:
        """What was asked for -> why it could not be had, though the run has its files."""
        return {k: self._causes.get(k, v) for k, v in self._reasons.items() if v != _MISSING}

    @cached_property
    def damaged(self) -> dict[str, str]:
        """File name -> what is wrong with it, of every file of the run that is there."""
        return {k: v for k, v in self._left_out.items() if k not in self._not_read}

    @cached_property
    def not_read(self) -> dict[str, str]:
        """File name -> why it is not read, of files that may be in order."""
        return {k: v for k, v in self._left_out.items() if k in self._not_read}

    @cached_property
    def _left_out(self) -> dict[str, str]:
        with warnings.catch_warnings():
            # Of the saved model; the page says what is wrong with it.
            warnings.simplefilter("ignore")
            for part in _PARTS:
                getattr(self, part)
        found = {k: v for k, v in self.problems.items() if os.path.lexists(self.path / k)}
        return dict(sorted(found.items()))

    @property
    def task(self) -> str:
        """classification, clustering, value or baskets."""
        return str(self.manifest["task"])

    @property
    def is_finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.run.status == runs.COMPLETED

    @property
    def name(self) -> str:
        """The name of the run directory."""
        return self.path.resolve().name or "run"

    # ---- what was asked for ----

    @cached_property
    def config(self) -> dict[str, Any] | None:
        """The full config, nested."""
        from segexp.config.options import read_yaml

        return self._read(runs.CONFIG, lambda: read_yaml(self.path / runs.CONFIG), _MB)

    @cached_property
    def command(self) -> str | None:
        """The command that made the run."""
        return self._read(runs.OVERRIDES, self.run.read_overrides, _MB)

    @cached_property
    def names(self) -> dict[str, str]:
        """Names that somebody gave the segments, in the run directory; none is no problem.

        Raises
        ------
        ConfigError
            If the file is damaged: whoever wrote it can mend it.
        """
        if not os.path.lexists(self.path / NAMES):
            return {}
        if reason := _unusable(self.path, NAMES, _MB):
            raise ConfigError(f"{self.path / NAMES} cannot be read: {reason}")
        return read_names(self.path / NAMES)

    # ---- results ----

    @cached_property
    def summary(self) -> dict[str, dict[str, Any]] | None:
        """Metric -> mean, std, interval, n."""
        return self._read(runs.SUMMARY, self.run.read_summary)

    @cached_property
    def scores(self) -> pd.DataFrame | None:
        """``repeat, fold, metric, value`` on held-out rows."""
        return self._read(runs.SCORES, self.run.read_scores)

    @cached_property
    def baselines(self) -> pd.DataFrame | None:
        """``baseline, repeat, fold, metric, value``."""
        return self._read(runs.BASELINES, self.run.read_baselines)

    @cached_property
    def timings(self) -> pd.DataFrame | None:
        """``repeat, fold, fit_seconds, predict_seconds``."""
        return self._read(runs.TIMINGS, self.run.read_timings)

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """One row per customer and repeat, of customers held out."""
        return self._read(runs.PREDICTIONS, self.run.read_predictions)

    @cached_property
    def importance(self) -> pd.DataFrame | None:
        """``kind, feature, mean, std``."""
        return self._read(runs.IMPORTANCE, self.run.read_importance)

    # ---- the table ----

    @cached_property
    def sample(self) -> pd.DataFrame | None:
        """``row``, ``id``, the features of some customers, ``target`` if known."""
        return self._parquet(runs.SAMPLE)

    @cached_property
    def profile(self) -> dict[str, Any] | None:
        """What the columns of the table are like."""
        return self._json(runs.PROFILE)

    # ---- segments ----

    @cached_property
    def segments(self) -> pd.DataFrame | None:
        """One row per segment: ``segment, n, share`` and its profile."""

        def read() -> pd.DataFrame:
            found = self.run.read_segments()
            if reason := _too_many(len(found)):
                raise TooLargeError(reason)
            return found

        return self._read(runs.SEGMENTS, read)

    @cached_property
    def segmentation(self) -> dict[str, Any] | None:
        """In-sample figures, stability and verdict on k of a clusterer."""
        return self._read(runs.SEGMENTATION, self.run.read_segmentation)

    @cached_property
    def customers(self) -> pd.DataFrame | None:
        """The segment of each customer, from the final model (in-sample)."""
        return self._read(runs.CUSTOMERS, self.run.read_customers)

    @cached_property
    def k_table(self) -> pd.DataFrame | None:
        """The criteria of the number of segments."""
        return self._read(runs.K_TABLE, self.run.read_k_table)

    @cached_property
    def stability(self) -> pd.DataFrame | None:
        """Agreement of the segments with those of resampled customers."""
        return self._csv(runs.STABILITY)

    @cached_property
    def parents(self) -> pd.DataFrame | None:
        """Where each segment comes from as their number grows."""
        return self._csv(runs.PARENTS)

    @cached_property
    def segments_as_rules(self) -> SegmentRules | None:
        """A small tree on the columns of the table, of the sampled customers."""
        return self._try(RULES, self._learn_rules)

    def _learn_rules(self) -> SegmentRules:
        from segexp.explanations import read_sample
        from segexp.segment_rules import learn_rules

        sample = self._need(runs.SAMPLE, self.sample)
        schema = self._need(runs.MODEL_SCHEMA, self.model_schema)
        segments = list(self._need(runs.SEGMENTS, self.segments)["segment"])
        if len(segments) > MOST_RULED:
            raise RunError(
                f"there are {len(segments):,} segments, and a small tree tells no more than "
                f"{MOST_RULED} apart"
            )
        known = read_sample(sample, schema)
        seed = self.manifest["split"]["split_seed"]
        if self.task == "classification":
            if known.y is None:
                raise RunError("the sample does not say who is in which segment")
            return learn_rules(known.X, known.y, known.segments, seed=seed)
        customers = self._need(runs.CUSTOMERS, self.customers)
        names = [name for name in segments if name != NOISE]
        codes = {name: code for code, name in enumerate(names)}
        own = customers.set_index("row")["segment"].reindex(known.rows)
        labels = own.map(codes).fillna(-1).to_numpy(dtype=int)
        return learn_rules(known.X, labels, names, seed=seed, space=self._space(known.X))

    def _need(self, name: str, found: T | None) -> T:
        if found is None:
            raise RunError(f"they are made from {name}: {self.why(name)}")
        return found

    def _space(self, X: pd.DataFrame) -> NDArray[np.float64] | None:
        """Return the prepared customers, where distances to means made the segments."""
        from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans

        kinds = (BisectingKMeans, KMeans, MiniBatchKMeans)
        if self.model is None or not isinstance(self.model[-1].clusterer, kinds):
            return None
        prepared = self.model[:-1].transform(X)
        return prepared if isinstance(prepared, np.ndarray) else None

    @cached_property
    def unused(self) -> frozenset[str]:
        """Columns whose cells the clusterer does not see; empty where that cannot be told."""
        if self.model is None or self.sample is None or self.model_schema is None:
            return frozenset()
        try:
            return _without_effect(self.model, self.sample, self.model_schema)
        except Exception:  # the model of another version, or of a stranger
            logger.debug("what the model sees cannot be told", exc_info=True)
            return frozenset()

    @cached_property
    def rfm(self) -> pd.DataFrame | None:
        """Customers, orders and revenue of each RFM segment."""
        return self._read(runs.RFM, lambda: self.run.read_table(runs.RFM))

    @cached_property
    def at_risk(self) -> pd.DataFrame | None:
        """Good customers who stay away, each with the reason."""
        return self._read(runs.AT_RISK, lambda: self.run.read_table(runs.AT_RISK))

    @cached_property
    def high_value(self) -> pd.DataFrame | None:
        """The best customers, each with the reason."""
        return self._read(runs.HIGH_VALUE, lambda: self.run.read_table(runs.HIGH_VALUE))

    @cached_property
    def responses(self) -> pd.DataFrame | None:
        """How the customers of each segment responded."""
        return self._read(runs.RESPONSES, lambda: self.run.read_table(runs.RESPONSES))

    # ---- the search ----

    @cached_property
    def search(self) -> dict[str, Any] | None:
        """What each study chose: ``metrics``, ``n_objectives`` and ``choices``."""
        return self._read(runs.SEARCH, self.run.read_search)

    @cached_property
    def trials(self) -> pd.DataFrame | None:
        """One row per trial of every study."""
        return self._read(runs.TRIALS, self.run.read_trials)

    # ---- value and baskets ----

    @cached_property
    def value(self) -> dict[str, Any] | None:
        """Parameters and convergence of a value model, and what the holdout says."""
        return self._json(runs.VALUE)

    @cached_property
    def deciles(self) -> pd.DataFrame | None:
        """Predicted beside actual, by tenth of the predictions."""
        return self._csv(runs.DECILES)

    @cached_property
    def value_matrix(self) -> pd.DataFrame | None:
        """Probability alive by customer value."""
        return self._csv(runs.VALUE_MATRIX)

    @cached_property
    def baskets(self) -> dict[str, Any] | None:
        """Counts and notes of a search for association rules."""
        return self._json(runs.BASKETS)

    @cached_property
    def itemsets(self) -> pd.DataFrame | None:
        """``itemset, length, count, support``."""
        return self._csv(runs.ITEMSETS)

    @cached_property
    def rules(self) -> pd.DataFrame | None:
        """Association rules, with what held-out baskets say of each."""
        return self._csv(runs.RULES)

    @cached_property
    def segment_rules(self) -> pd.DataFrame | None:
        """Association rules of each segment."""
        return self._csv(runs.SEGMENT_RULES)

    # ---- the model ----

    @cached_property
    def model(self) -> Pipeline | None:
        """The pipeline fitted on all rows; loading it runs no code of the file."""
        from segexp.checks.process import versions_apart
        from segexp.saved_model import load_pipeline

        def read() -> Pipeline:
            content = (self.path / runs.PIPELINE).read_bytes()
            try:
                return load_pipeline(content, runs.PIPELINE)
            except Exception as error:
                others = versions_apart(self.manifest)
                is_broken = isinstance(error.__cause__ or error, _BROKEN)
                if not others or is_broken or isinstance(error, ImportError):
                    raise
                cause = one_line(error, self.path)
                raise _OtherVersionsError(
                    f"it was saved with {', '.join(others)}: {cause}"
                ) from error

        return self._read(runs.PIPELINE, read)

    @cached_property
    def model_schema(self) -> dict[str, Any] | None:
        """What the columns of a table have to be that the model is asked about."""
        return self._json(runs.MODEL_SCHEMA)

    # ---- figures ----

    def figure(self, name: str) -> Mapping[str, bytes] | None:
        """Return a figure that the run left, as ``{"png": ..., "svg": ...}`` of what is there.

        Parameters
        ----------
        name : str
            Without its ending: ``elbow``.
        """
        if not re.fullmatch(r"[\w.-]+", name):
            return None
        found = {}
        for kind, beginning in _PICTURES.items():
            file = f"{runs.FIGURES}/{name}.{kind}"
            if _unusable(self.path, file, _MOST_PICTURE):
                continue
            content = (self.path / file).read_bytes()
            if not content.startswith(beginning):
                continue
            if reason := _unusable_png(content) if kind == "png" else "":
                self._reasons[file] = reason
                continue
            found[kind] = content
        return found or None

    def picture(
        self, name: str, draw: Callable[[], Figure] | None = None
    ) -> Mapping[str, bytes] | None:
        """Return a figure that the run left, or draw it anew where the file is gone.

        Parameters
        ----------
        name : str
            Without its ending.
        draw : callable, optional
            Returns the figure, from tables of the run; it may fail where they are damaged.
        """
        if (found := self.figure(name)) or draw is None:
            return found

        def make() -> Mapping[str, bytes]:
            from segexp.figures.look import Pictures

            with warnings.catch_warnings():
                # A letter that the font lacks is drawn as a box.
                warnings.simplefilter("ignore", UserWarning)
                return Pictures(draw())

        return self._try(f"{runs.FIGURES}/{name}", make)

    def figures(self, beginning: str = "") -> list[str]:
        """Return the names of the run's figures, without endings, sorted."""
        folder = self.path / runs.FIGURES
        if not folder.is_dir() or folder.is_symlink():
            return []
        names = {file.stem for file in folder.iterdir() if file.suffix in (".png", ".svg")}
        return sorted(name for name in names if name.startswith(beginning))

    # ---- reading ----

    def _json(self, name: str) -> dict[str, Any] | None:
        def read() -> dict[str, Any]:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise RunError(f"it holds no JSON object but a {type(content).__name__}")
            return content

        return self._read(name, read)

    def _csv(self, name: str) -> pd.DataFrame | None:
        import pandas as pd

        # A segment or an item may be called "NA".
        def read() -> pd.DataFrame:
            return pd.read_csv(
                self.path / name, dtype=_TEXTS, keep_default_na=False, na_values=[""]
            )

        return self._read(name, read)

    def _parquet(self, name: str) -> pd.DataFrame | None:
        import pandas as pd

        return self._read(name, lambda: pd.read_parquet(self.path / name), _MOST)

    def _read(self, name: str, read: Callable[[], T], most: int = _MOST) -> T | None:
        if reason := _unusable(self.path, name, most):
            self._reasons[name] = reason
            self._not_read.add(name)
            return None
        return self._try(name, read, PurePosixPath(name).name)

    def _try(self, name: str, read: Callable[[], T], file: str = "") -> T | None:
        """Read or make something; of a ``file`` the reader's own words are told in the appendix."""
        try:
            return read()
        except Exception as error:  # what readers of files raise has no common name
            logger.debug("%s cannot be read", name, exc_info=True)
            self._reasons[name] = self._causes[name] = one_line(error, self.path)
            strange = isinstance(error, OSError) and error.strerror
            if strange or isinstance(error, TooLargeError | _OtherVersionsError | ImportError):
                self._not_read.add(name)
            if file and not isinstance(error, SegexpError | ImportError):
                self._reasons[name] = (
                    f"{file} cannot be read: {strange}" if strange else f"{file} is damaged"
                )
        return None


# The properties that read the files of a run.
_PARTS = (
    "config", "command", "summary", "scores", "baselines", "timings", "predictions", "importance",
    "sample", "profile", "segments", "segmentation", "customers", "k_table", "stability", "parents",
    "rfm", "at_risk", "high_value", "responses", "search", "trials", "value", "deciles",
    "value_matrix", "baskets", "itemsets", "rules", "segment_rules", "model", "model_schema",
)  # fmt: skip


def _without_effect(
    model: Pipeline, sample: pd.DataFrame, schema: Mapping[str, Any]
) -> frozenset[str]:
    """Return the columns of which customers with other values are prepared the same."""
    import pandas as pd
    from scipy import sparse

    from segexp.explanations import read_sample

    X = read_sample(sample, schema).X
    some = np.linspace(0, len(X) - 1, min(len(X), _TRIED)).astype(int)
    tried = {
        str(name): np.union1d(some, _of_all_values(X[name]))
        for name in X
        if X[name].nunique() > 1  # missing cells may be filled in with the only value
    }
    if not tried:
        return frozenset()
    whole = np.unique(np.concatenate(list(tried.values())))
    # Whatever the order, where two values differ in effect two neighbours do.
    altered = [
        X.iloc[rows].assign(**{name: X[name].take(np.roll(rows, 1)).array})
        for name, rows in tried.items()
    ]
    Z = model[:-1].transform(pd.concat([X.iloc[whole], *altered], ignore_index=True))
    prepared = pd.DataFrame(Z.toarray() if sparse.issparse(Z) else Z).reset_index(drop=True)
    found, start = set(), len(whole)
    for name, rows in tried.items():
        before = prepared.iloc[np.searchsorted(whole, rows)].reset_index(drop=True)
        after = prepared.iloc[start : start + len(rows)].reset_index(drop=True)
        start += len(rows)
        if after.equals(before):
            found.add(name)
    return frozenset(found)


def _of_all_values(column: pd.Series[Any]) -> NDArray[np.intp]:
    """Return rows with values from one end to the other, and one without; rare levels are an end.

    Which row has a value does not matter, so it is the first.
    """
    from segexp.explanations import kind_of

    rows = np.flatnonzero(~column.duplicated() & column.notna())
    values = column.iloc[rows]
    if kind_of(column) == "categorical":
        values = values.map(column.value_counts())
    rows = rows[np.argsort(values.rank(method="first").to_numpy())]
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _TRIED)).astype(int)]
    return np.concatenate([rows, np.flatnonzero(column.isna())[:1]])


_MISSING = "the run has none"


def _unusable(folder: Path, name: str, most: int) -> str:
    """Say why a file is not read: missing, no plain file of this folder, or too large."""
    file = folder / name
    try:
        if not os.path.lexists(file):
            return _MISSING
        if not file.resolve().is_relative_to(folder.resolve()):
            return "it is a link that leads out of the run directory"
        status = file.stat()
    except (OSError, RuntimeError) as error:  # a link to itself
        return getattr(error, "strerror", None) or "it cannot be followed"
    if not stat.S_ISREG(status.st_mode):
        return "it is no plain file"
    if status.st_size > most:
        return (
            f"it has {status.st_size / _MB:,.0f} MB, more than the {most / _MB:g} MB that are read"
        )
    try:
        return too_large(file)
    except OSError as error:
        return error.strerror or "it cannot be read"


def _unusable_png(content: bytes) -> str:
    """Say why a picture is not shown, from its first bytes."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
                n = picture.width * picture.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return f"it has more than the {_MOST_DOTS / 1e6:g} million dots that are shown"
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError):
        return "it is no picture"
    return (
        f"it has {n / 1e6:,.0f} million dots, more than the {_MOST_DOTS / 1e6:g} that are shown"
        if n > _MOST_DOTS
        else ""
    )


def _too_many(n: int) -> str:
    return f"it has {n:,} segments, more than the {MOST_SEGMENTS:,} that are shown" * (
        n > MOST_SEGMENTS
    )


def one_line(error: BaseException, folder: Path) -> str:
    """Return a message in one line, without a full stop, that does not say where the run lies.

    Examples
    --------
    >>> one_line(RunError("yaml/config.yaml is no YAML."), Path("yaml"))
    'config.yaml is no YAML'
    """
    text = " ".join(str(error).split()).rstrip(" .")
    for place in (str(folder.resolve()), str(folder)):
        # A folder may be called like a part of a file's name, or like a word.
        text = re.sub(rf"(?<![\w./\\-]){re.escape(place)}[/\\]", "", text)
        if len(Path(place).parts) > 1:
            text = re.sub(rf"(?<![\w./\\-]){re.escape(place)}(?![\w-])", "the run directory", text)
    if not isinstance(error, SegexpError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= runs.MAX_CAUSE else f"{text[: runs.MAX_CAUSE]}..."
