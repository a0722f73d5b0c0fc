"""How the run went: its end, its warnings, what it ran in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import metadata as packages
from typing import Any

from segexp import __version__
from segexp.checks.readings import Check, Readings, RunCheck, at, listed, word
from segexp.data.findings import counted
from segexp.runs import COMPLETED, CUSTOMERS, PIPELINE, SEGMENTATION, SEGMENTS, WHOLE


def unfinished(run: Readings) -> RunCheck | None:
    """The run did not come to its end."""
    if _is_whole(run):
        return None
    status = run.manifest.get("status")
    return RunCheck(
        "unfinished",
        f"the run is {word(status)}, not {COMPLETED}",
        "what is shown comes from the folds that were finished, which need not be like the others",
        "go on with it: segexp resume DIR",
    )


def damaged_files(run: Readings) -> RunCheck | None:
    """Files of the run are there and cannot be read."""
    return _without_files(
        "damaged_files",
        "cannot be read",
        run.damaged,
        "restore them from a copy, or make the run again; the technical appendix says what is "
        "wrong with each",
    )


def missing_files(run: Readings) -> RunCheck | None:
    """Files that a completed run leaves are gone."""
    return _without_files(
        "missing_files",
        "missing",
        files_missing(run),
        "restore them from a copy, or make the run again",
    )


def files_not_read(run: Readings) -> RunCheck | None:
    """Files of the run are over a bound, or not for this program to read."""
    return _without_files(
        "files_not_read",
        "not read",
        run.not_read,
        "the technical appendix says why of each: over a bound, say, or of other versions; the "
        "files themselves may be in order",
    )


def _without_files(code: str, what: str, files: Iterable[str], advice: str) -> RunCheck | None:
    names = [word(name) for name in files]
    if not names:
        return None
    return RunCheck(
        code,
        f"{counted(len(names), 'file')} of the run {what}: {listed(names)}",
        "what is made from them is left out here, and checks that need them are silent",
        advice,
    )


def run_warning(run: Readings) -> list[RunCheck]:
    """The run itself left a warning, such as a model that could not be saved."""
    texts = run.manifest.get("warnings")
    return [
        RunCheck(
            "run_warning",
            word(text),
            "the run was not able to do all that was asked for",
            "",
        )
        for text in (texts if isinstance(texts, list) else [])
    ]


def dirty_environment(run: Readings) -> RunCheck | None:
    """The folder that the run was started in had changes that no commit holds."""
    git = run.manifest.get("git")
    if not isinstance(git, Mapping) or git.get("dirty") is not True:
        return None
    return RunCheck(
        "dirty_environment",
        f"the working folder had changes beyond commit {word(git.get('commit'))[:12]}",
        "the code or the configuration that made these figures cannot be had back from the commit",
        "commit first, then run again, where the figures are to be cited",
    )


# What a saved model depends on; other versions may read it in another way.
MODEL_LIBRARIES = ("scikit-learn", "lightgbm", "xgboost", "xgboost-cpu")


def other_versions(run: Readings) -> RunCheck | None:
    """Libraries here differ from those of the run in the first two numbers of their version."""
    others = versions_apart(run.manifest)
    if not others:
        return None
    return RunCheck(
        "other_versions",
        f"the run was made with {', '.join(others)}",
        "another version may compute other figures from the same config, and may read the saved "
        "model in another way",
        "repeat the run here, or install the versions that manifest.json lists",
    )


# ---- reading ------------------------------------------------------------------------------------


def _is_whole(run: Readings) -> bool:
    """Whether a run has come to its end, perhaps before it went on with more trials."""
    return run.manifest.get("status") == COMPLETED or run.manifest.get(WHOLE) is True


def files_missing(run: Readings) -> list[str]:
    """Return the files of a final model that a completed run was to leave and that are gone."""
    evaluation, manifest = at(run.config, "evaluation"), run.manifest
    if not _is_whole(run) or at(evaluation, "final_model") is not True:
        return []
    told = {*run.damaged, *run.not_read}
    wanted: dict[str, Any] = {}
    # Of a model that could not be saved the run left a warning.
    if manifest.get("task") in ("classification", "clustering") and not manifest.get("warnings"):
        wanted[PIPELINE] = run.model
    if manifest.get("task") == "clustering":
        wanted |= {
            SEGMENTATION: run.segmentation, SEGMENTS: run.segments, CUSTOMERS: run.customers,
        }  # fmt: skip
    return sorted(name for name, found in wanted.items() if found is None and name not in told)


def versions_apart(manifest: Mapping[str, Any]) -> list[str]:
    """Return the libraries of a saved model of which here is another version, with both."""
    then = manifest.get("versions")
    if not isinstance(then, Mapping):
        return []
    others = []
    for library in ("segexp", *MODEL_LIBRARIES):
        before, now = then.get(library), _installed(library)
        if before and now and _major_minor(before) != _major_minor(now):
            others.append(f"{library} {word(before)} (here {now})")
    return others


def _installed(library: str) -> str | None:
    if library == "segexp":
        return __version__
    try:
        return packages.version(library)
    except packages.PackageNotFoundError:
        return None


def _major_minor(version: Any) -> list[str]:
    return re.split(r"[.+-]", str(version))[:2]


CHECKS: tuple[Check, ...] = (
    unfinished,
    damaged_files,
    missing_files,
    files_not_read,
    run_warning,
    dirty_environment,
    other_versions,
)
