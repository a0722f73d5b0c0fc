"""What is shipped: the wheel, the scripts, and the files of the repository."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Installation:
    """A fresh environment that holds the wheel, and an empty folder to work in."""

    bin_dir: Path
    folder: Path

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.bin_dir / program), *words]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", f"--wheel-dir={folder}", str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def shipped(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installation(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    fresh = tmp_path_factory.mktemp("fresh")
    venv.create(fresh)
    # The libraries are those of the running environment, because installing them again takes
    # minutes. They come last in sys.path, and the .pth file of an editable segexp among them is
    # not read from there, so the wheel is what is imported.
    site = sysconfig.get_path("purelib", "venv", {"base": str(fresh)})
    Path(site, "libraries.pth").write_text(sysconfig.get_path("purelib"))
    _pip("--python", str(fresh / "bin" / "python"), "install", "--no-deps", str(wheel))
    return Installation(fresh / "bin", tmp_path_factory.mktemp("work"))


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", *words]
    subprocess.run(command, check=True)


@pytest.mark.slow
def test_the_wheel_holds_every_config_file(shipped: set[str]) -> None:
    conf = {str(path.relative_to(ROOT)) for path in (ROOT / "conf").rglob("*.yaml")}
    assert "conf/segexp.yaml" in conf
    assert {f"segexp/{path}" for path in conf} <= shipped


@pytest.mark.slow
def test_the_wheel_holds_the_templates(shipped: set[str]) -> None:
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "segexp/templates").iterdir()}
    assert templates and templates <= shipped


@pytest.mark.slow
def test_the_wheel_holds_nothing_but_the_package(shipped: set[str]) -> None:
    folders = {name.split("/")[0] for name in shipped}
    assert {folder.partition("-")[0] for folder in folders} == {"segexp"}


@pytest.mark.slow
def test_the_installed_package_is_the_wheel(installation: Installation) -> None:
    done = installation.run("python", "-c", "import segexp; print(segexp.__file__)")
    assert Path(done.stdout.strip()).is_relative_to(installation.bin_dir.parent)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["options", "config"])
def test_the_installed_program_answers_in_an_empty_folder(
    installation: Installation, command: str
) -> None:
    done = installation.run("segexp", command)
    assert done.returncode == 0, done.stderr
    assert "lightgbm" in done.stdout


@pytest.mark.slow
def test_the_installed_program_runs_the_embedded_default(installation: Installation) -> None:
    done = installation.run("segexp", "run", "dataset.n_customers=300")
    assert done.returncode == 0, done.stderr
    manifests = list(installation.folder.glob("outputs/**/manifest.json"))
    assert [json.loads(path.read_text())["status"] for path in manifests] == ["completed"]


def _project_files() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout to know the project's own files")
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    # Written so that this file does not match itself.
    registry = r"pypi\.org|pythonhosted\.org|registry\.npmjs|deb\.debian|conda\.anaconda"
    folder = r"(?<![\w.])/(?:work|root|home|Users|farm|opt)/"
    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in _project_files()
        for match in re.finditer(f"{registry}|{folder}", path.read_text("utf-8", "replace"))
    }
    assert found == set()


def test_no_file_is_a_lock_file() -> None:
    names = [path.name for path in _project_files()]
    assert [name for name in names if re.search(r"(\.lock|-lock\.\w+)$", name)] == []


def _programs(folder: Path, **scripts: str) -> str:
    """A PATH with what scripts/demo needs to look for Python, and ``scripts`` in place of it."""
    for tool in ("bash", "env", "dirname", "cat", "cksum", "grep"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    for name, lines in scripts.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{lines}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def _demo_without_environment(tmp_path: Path, **scripts: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of scripts/demo that has no .venv beside it."""
    checkout, programs = tmp_path / "checkout", tmp_path / "programs"
    programs.mkdir()
    shutil.copytree(ROOT / "scripts", checkout / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, checkout)
    environment = {"PATH": _programs(programs, **scripts)}
    command = [str(checkout / "scripts" / "demo")]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_the_demo_says_which_python_it_needs(tmp_path: Path) -> None:
    done = _demo_without_environment(tmp_path, python3='[ "$1" = --version ] && echo Python 3.9.2')
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "segexp needs Python 3.11 or newer, found Python 3.9.2: install one, then run this again"
    ]


def test_the_demo_says_that_the_venv_module_is_missing(tmp_path: Path) -> None:
    done = _demo_without_environment(tmp_path, python3='[[ "$2" != *ensurepip* ]]')
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "apt-get install python3-venv" in done.stderr


@pytest.mark.parametrize(
    ("strict", "reason", "exit_code"),
    [
        ("1", "needs the public data sets: set SEGEXP_DATA_DIR", pytest.ExitCode.TESTS_FAILED),
        ("1", "needs PostgreSQL: no initdb", pytest.ExitCode.TESTS_FAILED),
        ("1", "needs git", pytest.ExitCode.OK),
        ("", "needs PostgreSQL: no initdb", pytest.ExitCode.OK),
    ],
)
def test_strict_runs_fail_on_tests_that_lack_data_or_postgresql(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    strict: str,
    reason: str,
    exit_code: pytest.ExitCode,
) -> None:
    monkeypatch.setenv("SEGEXP_CI_STRICT", strict)
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text("utf-8"))
    pytester.makepyfile(f"import pytest\ndef test_it(): pytest.skip({reason!r})")
    result = pytester.runpytest_subprocess()
    assert result.ret == exit_code
    named = f"::test_it: {reason}" in result.stdout.str()
    assert named == (exit_code == pytest.ExitCode.TESTS_FAILED)
