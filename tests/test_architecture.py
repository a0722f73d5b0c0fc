"""How the package is built: imports point down, and every module is named after what it holds."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "segexp"
LAYERS = (  # a module imports only from lines above its own; a package counts as one module
    {"errors", "safe_html"},
    {"bounds"},
    {"config", "metrics", "runs", "saved_model"},
    {"engine"},
    {"clustering", "rfm"},
    {
        "data",
        "features",
        "evaluation",
        "comparison",
        "responses",
        "migration",
        "data_profile",
        "rfm_lists",
    },
    {"figures", "segment_names"},
    {
        "checks",
        "segment_rules",
        "actions",
        "search",
        "segmentation",
        "marketing",
        "value",
        "baskets",
    },
    {"components"},
    {"plan"},
    {"experiment", "predict"},
    {"migrating"},
    {"sweep", "explanations"},
    {"comparison_page"},
    {"report"},
    {"notebook"},
    {"cli"},
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
EXEMPT = {Path("__init__.py"), Path("__main__.py")}
MODULES = sorted({path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")} - EXEMPT)


def module_of(path: Path) -> str:
    return path.with_suffix("").parts[0]


def imported(source: str) -> Iterator[str]:
    """Dotted names that ``source`` imports, wherever the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "segexp":
            yield from ("segexp" for alias in node.names if alias.name != "__version__")
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def wrong_imports(own: str, source: str) -> list[str]:
    """What the module ``own`` must not import, but does; ``"segexp"`` is the top-level name."""
    names = [name for name in imported(source) if name.split(".")[0] == "segexp"]
    below = {name for name, rank in RANK.items() if rank < RANK[own]}
    return [name for name in names if name.partition(".")[2].split(".")[0] not in {own, *below}]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_has_a_layer(path: Path) -> None:
    assert module_of(path) in RANK, "a new module is put into LAYERS on purpose"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_down(path: Path) -> None:
    assert wrong_imports(module_of(path), (PACKAGE / path).read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "from segexp.cli import main",
        "from segexp.config.schema import RunConfig",
        "def late():\n    import segexp.cli",
        "from segexp import errors",
        "import segexp",
    ],
)
def test_an_import_that_does_not_point_down_is_found(source: str) -> None:
    assert len(wrong_imports("runs", source)) == 1


@pytest.mark.parametrize(
    "source",
    ["from segexp.errors import RunError", "from segexp import __version__", "import numpy as np"],
)
def test_an_import_that_points_down_is_allowed(source: str) -> None:
    assert wrong_imports("runs", source) == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_module_is_a_drawer_for_everything(path: Path) -> None:
    assert not {"base", "common", "helpers", "utils"} & set(path.with_suffix("").parts)
