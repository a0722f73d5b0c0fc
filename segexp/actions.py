"""What one may do about a segment: rules in ``actions.yaml``, the first that holds wins.

The texts are starting points for people, not results: nothing was tested on the customers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from segexp.config.options import read_yaml
from segexp.errors import ConfigError, did_you_mean
from segexp.segment_names import AVERAGE, HIGH, LOW, RATHER_HIGH, RATHER_LOW

CATALOGUE = "actions.yaml"
LEVELS = (HIGH, AVERAGE, LOW)
VALUES = ("high value", "middle value", "low value")
RISKS = ("likely gone", "at risk", "active")
# What a rule may ask for beside concepts, and the answers; any name of a segment will do.
_ASKED: dict[str, tuple[str, ...]] = {
    "segment": (), "value": VALUES, "risk": RISKS, "response": LEVELS,
}  # fmt: skip
_RATHER = {RATHER_HIGH: HIGH, RATHER_LOW: LOW}  # a rule that asks for high takes rather high too
_SECTIONS = ("concepts", "rules", "default")


@dataclass(frozen=True)
class Action:
    """What to try, and why it is proposed."""

    title: str
    do: str
    because: str = ""  # the conditions that held; empty for the default
    against: str = ""  # what the columns say against the name that the action was chosen by


@dataclass(frozen=True)
class ActionRule:
    """An action, and the conditions that must all hold."""

    when: Mapping[str, tuple[str, ...]]  # what is asked for -> the answers that will do
    title: str
    do: str
    expect: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # concept -> levels


@dataclass(frozen=True)
class SegmentFacts:
    """What is known of a segment when an action is looked for.

    Attributes
    ----------
    names : tuple of str
        What it is called, here and in the run.
    levels : mapping of column to level
        From :func:`segexp.segment_names.segment_levels`, the strongest marker first.
    value, risk, response : str or None
        See the catalogue.
    """

    names: tuple[str, ...] = ()
    levels: Mapping[str, str] = field(default_factory=dict)
    value: str | None = None
    risk: str | None = None
    response: str | None = None


@dataclass(frozen=True)
class Catalogue:
    """Rules in the order in which they are tried.

    Attributes
    ----------
    concepts : mapping of concept to patterns
        Words of a column's name; ``*`` at the end stands for the rest of a word.
    rules : tuple of ActionRule
    default : Action
    """

    concepts: Mapping[str, tuple[str, ...]]
    rules: tuple[ActionRule, ...]
    default: Action

    def choose(self, facts: SegmentFacts) -> Action:
        """Return the action of the first rule that holds, else the default."""
        known = self._known(facts)
        names = {name.casefold() for name in facts.names}
        for rule in self.rules:
            if all(
                names & {name.casefold() for name in answers}
                if asked == "segment"
                else _is_one_of(known.get(asked), answers)
                for asked, answers in rule.when.items()
            ):
                return Action(rule.title, rule.do, _because(rule, known), _against(rule, known))
        return self.default

    def _known(self, facts: SegmentFacts) -> dict[str, str]:
        """Return the level of each concept that a column stands for, and the other facts."""
        known: dict[str, str] = {}
        for concept, patterns in self.concepts.items():
            found = [level for column, level in facts.levels.items() if _is_about(column, patterns)]
            marked = [level for level in found if level != AVERAGE]  # the strongest first
            if found:
                known[concept] = marked[0] if marked else AVERAGE
        own = {"value": facts.value, "risk": facts.risk, "response": facts.response}
        return known | {asked: answer for asked, answer in own.items() if answer is not None}


def _is_one_of(level: str | None, answers: Sequence[str]) -> bool:
    return level is not None and (level in answers or _RATHER.get(level) in answers)


def _against(rule: ActionRule, known: Mapping[str, str]) -> str:
    """Say which columns are not as the name of the segment lets one expect."""
    said = [
        f"{concept} is {known[concept]}"
        for concept, levels in rule.expect.items()
        if concept in known and not _is_one_of(known[concept], levels)
    ]
    return " and ".join(filter(None, [", ".join(said[:-1]), *said[-1:]]))


def _because(rule: ActionRule, known: Mapping[str, str]) -> str:
    said = [
        "it is called so" if asked == "segment" else f"{asked} is {known[asked]}"
        for asked in rule.when
    ]
    return ", ".join(said)


def _is_about(column: str, patterns: Sequence[str]) -> bool:
    """Return whether the name of a column holds the words of a pattern, one after the other."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", column).lower()
    text = " ".join(re.findall(r"[^\W_]+", words))
    return any(re.search(_expression(pattern), text) for pattern in patterns)


def _expression(pattern: str) -> str:
    end = "" if pattern.endswith("*") else r"\b"
    return rf"\b{re.escape(pattern.rstrip('*'))}{end}"


# ---- files -------------------------------------------------------------------------------------


def load_actions(conf_dirs: Sequence[Path]) -> Catalogue:
    """Read ``actions.yaml`` of every folder that has one.

    Parameters
    ----------
    conf_dirs : sequence of Path
        From :func:`segexp.config.options.find_conf_dirs`: the rules of the first are tried first,
        concepts are added up, and the first default wins.

    Raises
    ------
    ConfigError
        In one line: the file, the rule, what was seen, and what would do.
    """
    found = [path for folder in conf_dirs if (path := folder / CATALOGUE).is_file()]
    files = [(path, _sections(path)) for path in found]
    concepts: dict[str, tuple[str, ...]] = {}
    for path, content in files:
        for concept, patterns in _concepts(path, content).items():
            concepts[concept] = tuple(dict.fromkeys((*concepts.get(concept, ()), *patterns)))
    rules = [rule for path, content in files for rule in _rules(path, content, concepts)]
    defaults = [_default(path, content) for path, content in files if content.get("default")]
    if not defaults:
        raise ConfigError(f"no {CATALOGUE} has a default; it needs a title and a text in do")
    return Catalogue(concepts, tuple(rules), defaults[0])


def _sections(path: Path) -> dict[str, Any]:
    content = read_yaml(path)
    for key in content:
        if key not in _SECTIONS:
            raise ConfigError(
                f"{path}: there is no section {key!r}{did_you_mean(key, _SECTIONS)}; "
                f"sections: {', '.join(_SECTIONS)}"
            )
    return content


def _concepts(path: Path, content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    given = content.get("concepts") or {}
    if not isinstance(given, dict):
        raise ConfigError(f"{path}: concepts must map a concept to words, got {given!r:.40}")
    concepts = {}
    for concept, patterns in given.items():
        if str(concept) in _ASKED:
            raise ConfigError(f"{path}: concepts.{concept} has a meaning of its own; rename it")
        patterns = _listed(patterns)
        if not patterns or not all(isinstance(p, str) and p.strip("* ") for p in patterns):
            raise ConfigError(
                f"{path}: concepts.{concept} must list words of column names, got {patterns!r:.60}"
            )
        concepts[str(concept)] = tuple(" ".join(p.lower().split()) for p in patterns)
    return concepts


def _rules(
    path: Path, content: Mapping[str, Any], concepts: Mapping[str, Any]
) -> Iterator[ActionRule]:
    given = content.get("rules") or []
    if not isinstance(given, list):
        raise ConfigError(f"{path}: rules must be a list, got {type(given).__name__}")
    for number, rule in enumerate(given, 1):
        where = f"{path}: rule {number}"
        _check_keys(where, rule, ("when", "title", "do"), optional=("expect",))
        when = rule["when"]
        if not isinstance(when, dict) or not when:
            raise ConfigError(f"{where}: when must hold one condition or more, got {when!r:.40}")
        asked = {str(key): _answers(where, str(key), when[key], concepts) for key in when}
        expect = rule.get("expect", {})
        if not isinstance(expect, dict):
            raise ConfigError(f"{where}: expect must map concepts to levels, got {expect!r:.40}")
        expected = {
            str(key): _answers(where, str(key), expect[key], concepts, "expect") for key in expect
        }
        yield ActionRule(asked, _text(where, rule, "title"), _text(where, rule, "do"), expected)


def _answers(
    where: str, asked: str, answers: Any, concepts: Mapping[str, Any], of: str = "when"
) -> tuple[str, ...]:
    own = _ASKED if of == "when" else {}
    if asked not in own and asked not in concepts:
        known = [*own, *concepts]
        raise ConfigError(
            f"{where}: {of}.{asked} is no concept{did_you_mean(asked, known)}; "
            f"known: {', '.join(known)}"
        )
    allowed = own.get(asked, LEVELS)
    found = tuple(str(answer) for answer in _listed(answers) if answer is not None)
    if not found:
        raise ConfigError(f"{where}: {of}.{asked} names no answer")
    for answer in found:
        if allowed and answer not in allowed:
            raise ConfigError(
                f"{where}: {of}.{asked} must be one of {', '.join(allowed)}, "
                f"got {answer!r}{did_you_mean(answer, allowed)}"
            )
    return found


def _default(path: Path, content: Mapping[str, Any]) -> Action:
    where, given = f"{path}: default", content["default"]
    _check_keys(where, given, ("title", "do"))
    return Action(_text(where, given, "title"), _text(where, given, "do"))


def _check_keys(where: str, given: Any, keys: Sequence[str], optional: Sequence[str] = ()) -> None:
    if not isinstance(given, dict):
        raise ConfigError(f"{where} must hold {', '.join(keys)}, got {given!r:.40}")
    known = [*keys, *optional]
    for key in given:
        if key not in known:
            raise ConfigError(f"{where} has an unknown key {key!r}{did_you_mean(key, known)}")
    for key in keys:
        if key not in given:
            raise ConfigError(f"{where} lacks {key}")


def _text(where: str, given: Mapping[str, Any], key: str) -> str:
    text = given[key]
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{where}: {key} must be a text, got {text!r:.40}")
    return " ".join(text.split())


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
