"""The README says only what is so."""

import re
import shlex
from pathlib import Path

import pytest

from segexp.cli.completion import COMMANDS
from segexp.components import build_pipeline
from segexp.config.compose import expand_grid, load_config
from segexp.config.options import find_conf_dirs, list_options, shipped_conf
from segexp.config.schema import GROUPS
from segexp.errors import ConfigError

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
LINES = [
    shlex.split(line, comments=True)[1:]
    for line in re.findall(r"^\$ (segexp .+)$", README, re.MULTILINE)
]
COMPOSING = [words for words in LINES if words[0] in ("run", "sweep", "plan", "config")]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A folder with the data sets that the README writes down."""
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    for name in ("shop", "orders"):
        text = re.search(rf"```yaml\n# conf/dataset/{name}.yaml\n(.*?)```", README, re.DOTALL)
        assert text
        (tmp_path / "conf" / "dataset" / f"{name}.yaml").write_text(text[1])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("words", COMPOSING, ids=" ".join)
def test_every_command_of_the_readme_composes_and_builds(words, shop):
    conf_dirs = find_conf_dirs()
    slip = "num_leafs" in " ".join(words)
    for cell in expand_grid([word for word in words[1:] if not word.startswith("-")], conf_dirs):
        if slip:
            with pytest.raises(ConfigError) as caught:
                build_pipeline(load_config(cell, conf_dirs))
            assert f"segexp: {caught.value}\n" in README
        else:
            build_pipeline(load_config(cell, conf_dirs))


def test_every_command_of_the_readme_exists():
    assert {words[0] for words in LINES} <= set(COMMANDS)


def test_every_command_is_in_the_readme():
    for command in COMMANDS:
        assert f"segexp {command}" in README


@pytest.mark.parametrize("group", GROUPS)
def test_the_readme_lists_every_option(group):
    row = re.search(rf"^\| `{group}` \| (.*) \|$", README, re.MULTILINE)
    assert row
    assert set(re.findall(r"`(\w+)`", row[1])) == set(list_options(group, (shipped_conf(),)))


@pytest.mark.parametrize("script", re.findall(r"^\$ (scripts/\w+)", README, re.MULTILINE))
def test_every_script_of_the_readme_is_there(script):
    assert (Path(__file__).parents[1] / script).is_file()
