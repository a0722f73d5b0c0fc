"""The figures of a run: drawn from its tables, or the pictures that it left."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import segexp.runs as runs
from segexp.errors import RunError, did_you_mean
from segexp.notebook.shown import short
from segexp.notebook.tables import (
    choices_of_k,
    criteria,
    names_of,
    scores_by_segment,
    there,
    with_numbers,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from segexp.report.source import Source


class Picture:
    """A figure that a run left as a PNG file; a notebook shows it.

    Attributes
    ----------
    name : str
    png : bytes
    """

    def __init__(self, name: str, png: bytes) -> None:
        self.name = name
        self.png = png

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f"<picture {short(self.name)}, {len(self.png):,} bytes>"


class Figures(Mapping[str, "Figure | Picture"]):
    """The figures of a run by name, each drawn when it is asked for.

    A figure that can be drawn from the tables of the run is matplotlib's and can be changed; any
    other one is the picture that the run left.

    Parameters
    ----------
    source : Source
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._drawings = {
            name: draw for name, (is_there, draw) in _DRAWINGS.items() if is_there(source)
        }
        kept = [name for name in source.figures() if "png" in (source.figure(name) or {})]
        self._names = list(dict.fromkeys([*self._drawings, *kept]))

    def __getitem__(self, name: str) -> Figure | Picture:
        if name not in self._names:
            known = ", ".join(map(short, self._names)) or "none"
            hint = did_you_mean(name, self._names)
            raise RunError(f"the run has no figure {name!r}{hint}; figures: {known}")
        why = ""
        if (draw := self._drawings.get(name)) is not None:
            try:
                return _showing(draw(self._source))
            except Exception as error:  # a run from elsewhere may hold anything
                why = f": {type(error).__name__}"
        if png := (self._source.figure(name) or {}).get("png"):
            return Picture(name, png)
        raise RunError(f"the figure {name} cannot be drawn{why}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<figures: {', '.join(map(short, self._names)) or 'none'}>"


def _showing(figure: Figure) -> Figure:
    """Return a figure that a notebook shows without pyplot."""
    vars(figure)["_repr_png_"] = partial(_png, figure)
    return figure


def _png(figure: Figure) -> bytes:
    from segexp.figures.look import render

    with warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.simplefilter("ignore", UserWarning)
        return render(figure)["png"]


def _elbow(source: Source) -> Figure:
    from segexp.figures.clustering import elbow

    choices, verdict = choices_of_k(source)
    return elbow(criteria(source), choices.get("knee"), verdict)


def _silhouette_by_k(source: Source) -> Figure:
    from segexp.figures.clustering import silhouette_curve

    return silhouette_curve(criteria(source), choices_of_k(source)[1])


def _gap(source: Source) -> Figure:
    from segexp.figures.clustering import gap_curve

    return gap_curve(criteria(source), *choices_of_k(source))


def _silhouettes(source: Source) -> Figure:
    import pandas as pd

    from segexp.figures.clustering import silhouette_plot

    customers = there(source.customers)
    names = names_of(source)
    codes = pd.Index(names).get_indexer(pd.Index(customers["segment"].astype(str)))
    return silhouette_plot(customers["silhouette"].to_numpy(dtype=float), codes, names)


def _stability(source: Source) -> Figure:
    import pandas as pd

    from segexp.figures.clustering import stability_boxplots

    table, names = there(source.stability), dict(enumerate(names_of(source)))
    own = table[table["measure"] == "jaccard"]
    named = own.assign(segment=pd.to_numeric(own["segment"], errors="coerce").map(names))
    return stability_boxplots(named.dropna(subset="segment"), "Jaccard", by="segment")


def _segment_sizes(source: Source) -> Figure:
    from segexp.figures.segments import segment_sizes

    return segment_sizes(with_numbers(there(source.segments)))


def _distance_shares(source: Source) -> Figure:
    from segexp.figures.segments import distance_shares

    table = there(source.importance)
    own = table[table["kind"] == "model"]
    return distance_shares(own.sort_values("mean", ascending=False, kind="stable"))


def _segment_revenue(source: Source) -> Figure:
    from segexp.figures.rfm import segment_bars

    return segment_bars(there(source.rfm))


def _responses(source: Source) -> Figure:
    from segexp.figures.responses import response_rates_figure

    outcome = source.manifest["dataset"]["roles"]["target"][0]
    return response_rates_figure(there(source.responses), outcome)


def _confusion(source: Source) -> Figure:
    import pandas as pd

    from segexp.figures.classification import confusion
    from segexp.report.evidence import read_judged

    names = [str(name) for name in source.manifest["segments"]]
    judged = read_judged(there(source.predictions), names, source.manifest["split"])
    return confusion(pd.DataFrame(judged.counts, index=names, columns=names), judged.words)


def _segment_scores(source: Source) -> Figure:
    from segexp.figures.classification import segment_scores

    return segment_scores(scores_by_segment(source), "Mean over folds, on customers held out")


def _importance(source: Source) -> Figure:
    from segexp.figures.classification import importances

    table = there(source.importance)
    own = table[table["kind"] == "permutation"].sort_values("mean", ascending=False, kind="stable")
    top = own.head(20).assign(low=float("nan"), high=float("nan"))
    note = f"On customers held out, mean over folds; the first {len(top)} of {len(own)} columns"
    return importances(top, table.iloc[:0], source.manifest["metric"], note)


def _distributions(source: Source) -> Figure:
    from segexp.figures.data import distributions

    profile = there(source.profile)
    return distributions(profile["columns"][:20], profile["n_rows"])


def _missing_values(source: Source) -> Figure:
    from segexp.figures.data import missing_values

    profile = there(source.profile)
    return missing_values(profile["columns"], profile["n_rows"])


def _associations(source: Source) -> Figure:
    from segexp.figures.data import associations

    profile = there(source.profile)
    return associations(profile["associations"], profile["n_compared"])


def _calibration_deciles(source: Source) -> Figure:
    from segexp.value.figures import decile_calibration

    return decile_calibration(there(source.deciles))


def _value_matrix(source: Source) -> Figure:
    from segexp.value.figures import matrix_heatmap

    return matrix_heatmap(there(source.value_matrix))


_Drawing = tuple[Callable[["Source"], bool], Callable[["Source"], "Figure"]]


def _if_file(name: str, *tasks: str) -> Callable[[Source], bool]:
    return lambda source: (not tasks or source.task in tasks) and (source.path / name).is_file()


def _has_gaps(source: Source) -> bool:
    table = source.k_table
    return table is not None and "gap_uniform" in table and bool(table["gap_uniform"].notna().any())


def _has_missing(source: Source) -> bool:
    missing = (source.profile or {}).get("missing")
    return isinstance(missing, dict) and bool(missing.get("cells"))


_DRAWINGS: dict[str, _Drawing] = {  # name -> whether the run has its table, and how it is drawn
    "confusion": (_if_file(runs.PREDICTIONS, "classification"), _confusion),
    "segment_scores": (_if_file(runs.SUMMARY, "classification"), _segment_scores),
    "importance": (_if_file(runs.IMPORTANCE, "classification"), _importance),
    "segment_sizes": (_if_file(runs.SEGMENTS, "clustering"), _segment_sizes),
    "silhouettes": (_if_file(runs.CUSTOMERS, "clustering"), _silhouettes),
    "stability": (_if_file(runs.STABILITY, "clustering"), _stability),
    "distance_shares": (_if_file(runs.IMPORTANCE, "clustering"), _distance_shares),
    "elbow": (_if_file(runs.K_TABLE), _elbow),
    "silhouette_by_k": (_if_file(runs.K_TABLE), _silhouette_by_k),
    "gap": (_has_gaps, _gap),
    "responses": (_if_file(runs.RESPONSES), _responses),
    "segment_revenue": (_if_file(runs.RFM), _segment_revenue),
    "calibration_deciles": (_if_file(runs.DECILES), _calibration_deciles),
    "value_matrix": (_if_file(runs.VALUE_MATRIX), _value_matrix),
    "distributions": (_if_file(runs.PROFILE), _distributions),
    "missing_values": (_has_missing, _missing_values),
    "associations": (_if_file(runs.PROFILE), _associations),
}
