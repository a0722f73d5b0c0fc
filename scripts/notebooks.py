"""Build and execute the notebooks of docs/notebooks from their sources in percent format.

    .venv/bin/python scripts/notebooks.py            # all of them
    .venv/bin/python scripts/notebooks.py mall       # one

They need the public data sets (SEGEXP_DATA_DIR, or the network). What is written holds no time,
no path and no name of the machine, so that the same segexp writes the same notebook again.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"
MOST_BYTES = 1_000_000
_MARK = re.compile(r"^# %%(?P<markdown> \[markdown\])?(?: tags=(?P<tags>\[.*\]))?$", re.MULTILINE)
_TELLING = {  # what a notebook must not tell
    "a time": r"20\d{6}T\d{6}|20\d\d-\d\d-\d\dT\d\d:\d\d",
    "an absolute path": r"(?<![\w.:/])/(?:home|tmp|work|root|usr|var|Users|opt|private)/",
    "a place in memory": r" at 0x[0-9a-f]{6,}",
}


def read_source(text: str) -> NotebookNode:
    """Return the notebook of a source: ``# %%`` begins code, ``# %% [markdown]`` begins words."""
    _, *parts = _MARK.split(text)
    cells: list[NotebookNode] = []
    for i in range(0, len(parts), 3):
        is_words, tags, body = parts[i : i + 3]
        body = body.strip("\n")
        if is_words:
            cell = new_markdown_cell(re.sub(r"^# ?", "", body, flags=re.MULTILINE))
        else:
            cell = new_code_cell(body)
        if tags:
            cell.metadata["tags"] = json.loads(tags)
        cell["id"] = f"cell-{len(cells) + 1}"  # else a random one
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(
        cells=cells, metadata={"kernelspec": kernel, "language_info": {"name": "python"}}
    )


def set_parameters(notebook: NotebookNode, values: Mapping[str, object]) -> None:
    """Give names other values, right after the cell that is tagged ``parameters``."""
    (number,) = (
        i for i, c in enumerate(notebook.cells) if "parameters" in c.metadata.get("tags", [])
    )
    lines = [f"{name} = {value!r}" for name, value in values.items()]
    notebook.cells.insert(number + 1, new_code_cell("\n".join(lines), id="given"))


def execute(notebook: NotebookNode, folder: Path, seconds: int = 900) -> None:
    """Execute a notebook in a folder, where its runs land, and take out what is of this machine."""
    metadata = notebook.metadata.copy()
    client = NotebookClient(
        notebook, timeout=seconds, kernel_name="python3", record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )  # fmt: skip
    client.execute()
    notebook.metadata = metadata
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = _without_progress(cell.outputs)


def _without_progress(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Return outputs without the lines that were shown for a while and then overwritten."""
    kept: list[NotebookNode] = []
    for output in outputs:
        before = kept[-1] if kept else None
        if output.output_type != "stream":
            kept.append(output)
        elif before is not None and before.output_type == "stream" and before.name == output.name:
            before.text += output.text
        else:
            kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            lines = (line.rpartition("\r")[2] for line in output.text.split("\n"))
            output.text = "\n".join(lines)
    return [out for out in kept if out.output_type != "stream" or out.text.strip()]


def write(notebook: NotebookNode) -> str:
    """Return a notebook as text.

    Raises
    ------
    ValueError
        If it tells of this machine, or is too large.
    """
    text = nbformat.writes(notebook) + "\n"
    shown = json.dumps([_without_pictures(cell) for cell in notebook.cells])
    patterns = {**_TELLING, "the machine": rf"\b{re.escape(socket.gethostname())}\b"}
    for what, pattern in patterns.items():
        if found := re.search(pattern, shown):
            raise ValueError(f"the notebook tells {what}: {found.group()!r}")
    if len(text.encode()) > MOST_BYTES:
        raise ValueError(f"the notebook has {len(text.encode()):,} bytes")
    return text


def _without_pictures(cell: NotebookNode) -> object:
    outputs = [
        {**output, "data": {k: v for k, v in output.get("data", {}).items() if k != "image/png"}}
        for output in cell.get("outputs", [])
    ]
    return {**cell, "outputs": outputs}


def build(source: Path) -> Path:
    """Execute the notebook of a source and write it beside it."""
    notebook = read_source(source.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        execute(notebook, Path(folder))
    target = source.with_suffix(".ipynb")
    target.write_text(write(notebook), "utf-8")
    return target


def main(names: list[str]) -> None:
    """Build the notebooks that are named, or all."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in names or sorted(path.stem for path in FOLDER.glob("*.py")):
        target = build(FOLDER / f"{name}.py")
        print(f"{target.relative_to(FOLDER.parents[1])}: {target.stat().st_size / 1e3:,.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
