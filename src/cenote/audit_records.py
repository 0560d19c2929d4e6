"""The records that `cenote.audit` returns: one line a check, with what was measured and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

from cenote.json_records import Result

# What `passed` of a check says.
RESULTS: dict[bool | None, str] = {True: "pass", False: "FAIL", None: "not decided"}


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool | None  # None: not decided; the evidence says why
    evidence: str  # a sentence with the measured numbers
    remedy: str  # empty where there is nothing to do
    measured: dict[str, Any]  # the numbers of the evidence, by name


def passes(checks: Iterable[Check], asked: str | None = None) -> bool:
    """Return whether a model passes: no check fails, at least one passes, and the one that was asked for is decided.

    >>> checks = [Check("hubs", None, "", "", {}), Check("weights", True, "", "", {})]
    >>> passes(checks), passes(checks[:1]), passes(checks, asked="hubs"), passes(checks, asked="pooling")
    (True, False, False, False)
    """
    results = {one.name: one.passed for one in checks}
    decided = asked is None or results.get(asked) is not None
    return False not in results.values() and True in results.values() and decided


@dataclass(frozen=True)
class AuditedTexts:
    """The texts of an audit."""

    source: str
    given: int
    used: int
    fingerprint: str  # of the texts that were used


@dataclass(frozen=True, repr=False)
class Audit(Result):
    """The result of `cenote.audit`: whether a model is served as it was made."""

    SCHEMA = 2  # version of the JSON format; others are refused
    PAGES = {".html": ("cenote.report.audit", "to_html"), ".md": ("cenote.report.audit", "to_markdown")}

    schema: int
    passed: bool  # whether no check fails, at least one passes, and a pooling that was asked for is decided
    model: str
    fingerprint: str
    pooling: str
    temperature: str
    limit: int | None
    texts: AuditedTexts
    checks: tuple[Check, ...]
    settings: dict[str, Any]
    versions: dict[str, str]

    @property
    def failed(self) -> tuple[str, ...]:
        """The names of the checks that failed."""
        return tuple(check.name for check in self.checks if check.passed is False)

    def summary(self) -> str:
        """Return the result in one sentence.

        >>> Audit(2, False, "m", "", "mean", "1", None, AuditedTexts("t", 9, 9, ""), (), {}, {}).summary()
        'Nothing could be decided on m: there are no checks.'
        """
        decided = sum(check.passed is not None for check in self.checks)
        if self.failed:
            checks = "check" if decided == 1 else "checks"
            return f"{self.model} fails {len(self.failed)} of {decided} {checks}: {', '.join(self.failed)}."
        if not decided:
            why = f"none of {len(self.checks)} checks could measure it" if self.checks else "there are no checks"
            return f"Nothing could be decided on {self.model}: {why}."
        if not self.passed and (pooling := self.settings.get("pooling")):
            asked = f"the pooling {pooling!r}"
            return f"{self.model} passes {decided} of {len(self.checks)} checks, but not {asked}: it is not decided."
        open_ = len(self.checks) - decided
        rest = f"; {open_} not decided" if open_ else ""
        return f"{self.model} passes {decided} check{'' if decided == 1 else 's'}{rest}."

    def __repr__(self) -> str:
        """Return the model with its texts, and the result."""
        return f"Audit of {self.model} on {self.texts.used:,} texts from {self.texts.source}\n{self.summary()}"

    def _repr_html_(self) -> str:
        """Return a table of the checks, for notebooks."""
        rows = "".join(
            f"<tr><td>{escape(check.name)}</td><td>{RESULTS[check.passed]}</td><td>{escape(check.evidence)}</td></tr>"
            for check in self.checks
        )
        return f"<table><tr><th>check</th><th>result</th><th>evidence</th></tr>{rows}</table>"
