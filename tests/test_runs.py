import errno
import json
import os
import subprocess
import sys

import pandas as pd
import pytest

import segexp.runs as runs
from segexp.errors import RunError, RunFailedError
from segexp.runs import find_runs, new_run, open_run

TEXTS = {runs.CONFIG: "a: 1\n", runs.OVERRIDES: "segexp run\n"}


def start(tmp_path):
    return new_run(tmp_path, "demo", "standard-svm-none-12345678", TEXTS, {"metric": "accuracy"})


def test_a_run_that_ends_is_completed(tmp_path):
    with start(tmp_path) as writer:
        assert open_run(writer.path).status == "running"
    assert open_run(writer.path).status == "completed"


def test_the_name_says_time_and_parts(tmp_path):
    with start(tmp_path) as writer:
        pass
    assert writer.path.parent == tmp_path / "demo"
    assert writer.path.name[8] == "T"
    assert writer.path.name.endswith("Z-standard-svm-none-12345678")


def test_a_run_that_raises_is_failed_and_says_why(tmp_path):
    with pytest.raises(RunFailedError, match="ZeroDivisionError: boom"), start(tmp_path) as writer:
        raise ZeroDivisionError("boom")
    run = open_run(writer.path)
    assert (run.status, run.manifest["cause"]) == ("failed", "ZeroDivisionError: boom")
    assert "Traceback" in (run.path / runs.LOG).read_text()


def test_a_run_that_is_stopped_is_interrupted(tmp_path):
    with pytest.raises(KeyboardInterrupt), start(tmp_path) as writer:
        raise KeyboardInterrupt
    assert open_run(writer.path).status == "interrupted"


def test_a_killed_run_never_looks_finished(tmp_path):
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom segexp.runs import new_run\n"
        "with new_run(Path(sys.argv[1]), 'demo', 'x', {}, {}):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (path,) = find_runs(tmp_path)
    assert open_run(path).status == "killed"


def test_runs_that_begin_in_the_same_second_have_different_names(tmp_path):
    with start(tmp_path) as first, start(tmp_path) as second:
        pass
    assert first.path != second.path
    assert len(find_runs(tmp_path)) == 2


def test_a_run_directory_can_be_moved(tmp_path):
    summary = {"accuracy": {"mean": 0.5, "std": None, "interval": None, "n": 1}}
    with start(tmp_path / "here") as writer:
        writer.write_json(runs.SUMMARY, summary)
    moved = writer.path.rename(tmp_path / "moved")
    assert open_run(moved).read_summary() == summary


def test_a_table_reads_back_equal(tmp_path):
    scores = pd.DataFrame(
        {"repeat": [0], "fold": [1], "metric": ["recall[NA]"], "value": [0.1 + 0.2]}
    )
    with start(tmp_path) as writer:
        writer.write_csv(runs.SCORES, scores)
    pd.testing.assert_frame_equal(open_run(writer.path).read_scores(), scores)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"is not a run directory: it has no manifest.json"):
        open_run(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RunError, match="there is no such folder"):
        open_run(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must hold a JSON object, got list"),
        ('{"schema_version": 99}', "written with schema version 99"),
        ('{"schema_version": 1, "status": "done"}', "unknown status 'done'"),
    ],
)
def test_a_damaged_manifest_is_one_line(tmp_path, text, words):
    (tmp_path / runs.MANIFEST).write_text(text)
    with pytest.raises(RunError) as caught:
        open_run(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("process", [None, 3, {"pid": "x", "host": None}, {"pid": -5}])
def test_a_strange_process_entry_does_not_break_the_status(tmp_path, process):
    manifest = {"schema_version": 1, "status": "running", "process": process}
    (tmp_path / runs.MANIFEST).write_text(json.dumps(manifest))
    assert open_run(tmp_path).status in ("running", "killed")


def test_outputs_that_cannot_be_made_leave_nothing(tmp_path):
    (tmp_path / "demo").write_text("a file where a folder should be")
    with pytest.raises(RunError, match=r"cannot be written.*run.outputs=DIR"), start(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_full_disk_at_the_start_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(RunError, match=r"No space left on device; free some space"),
        start(tmp_path),
    ):
        pass
    assert list((tmp_path / "demo").iterdir()) == []


def test_a_hidden_half_made_folder_is_not_listed(tmp_path):
    half = tmp_path / "demo" / ".new-abc"
    half.mkdir(parents=True)
    (half / runs.MANIFEST).write_text("{}")
    assert find_runs(tmp_path) == []
