"""The page of a run: one HTML file for people, made from the record and what it binds.

Nothing is loaded from elsewhere and nothing runs: pictures are `data:` URIs, plots are inline SVG,
folding is `<details>`, and a Content-Security-Policy forbids the rest. Every expression of a
template passes through :func:`guards.report.values.shown` and is then escaped, so no template can
forget. A page whose report is not what the record binds shows no verdict, and says so first.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.exceptions import UndefinedError
from markupsafe import Markup

from guards.errors import Malformed
from guards.report import explained, panels, plots, values, words
from guards.report.finished import Finished, open_run

HERE = Path(__file__).parent
BUILTIN_POLICIES = ("default", "explore")
_PNG = b"\x89PNG\r\n\x1a\n"
_PAGE = re.compile(r"[a-z0-9.-]+\.html")
_MAX_PICTURE = 4 * 1024 * 1024
_SHAPE = (KeyError, TypeError, ValueError)
_FILTERS = ("number", "p_value", "share", "count", "size", "seconds", "moment", "digest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An exhibit: a `data:` URI, a page beside this one, or why it is not shown."""

    name: str
    caption: str
    uri: Markup | None = None
    page: str = ""
    absent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One rule on the page: its words, its examination as JSON, its mark, plots and pictures."""

    name: str
    words: words.Rule
    examination: Mapping[str, Any]
    mark: str
    seconds: float | None
    plots: tuple[tuple[plots.Column, Markup], ...] = ()
    rates: Markup | None = None
    pictures: tuple[Picture, ...] = ()

    @property
    def alias(self) -> str:
        """The rule's own name, as commands, policies and docs say it, where the title hides it."""
        return "" if self.words.title.lower() == self.name else self.name

    @property
    def loud(self) -> bool:
        """Whether there is more to show than that it looked."""
        return self.mark not in ("clear", "unjudged") or bool(
            self.plots or self.rates or self.pictures
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Rules that did not look, for one reason, and what would make them look."""

    rules: tuple[str, ...]
    state: str
    why: str
    remedy: str


def render(run: Path) -> str:
    """The page of a run directory, as HTML; Malformed when its report is not one of schema 1."""
    try:
        finished = open_run(run)
        return environment().get_template("page.html").render(_context(finished))
    except (UndefinedError, AttributeError, *_SHAPE) as error:
        raise Malformed(f"not a toadstone report: {error}", "report.json") from error


@cache
def environment() -> Environment:
    """The templates of this directory: everything made visible, then escaped; no silent gaps."""
    made = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=values.shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["quoted"] = shlex.quote
    made.filters |= {name: getattr(values, name) for name in _FILTERS}
    made.globals["field"] = words.field
    made.globals["stylesheet"] = Markup((HERE / "page.css").read_text(encoding="utf-8"))
    return made


def _context(run: Finished) -> dict[str, Any]:
    report = run.report
    signed = bool(run.keyids)
    rows = run.sound("rows.parquet")
    sections = tuple(_section(run, told) for told in report["examinations"])
    claim, objections = _provenance(report)
    return {
        "report": report,
        "run": run,
        "signed": signed,
        "decision": report["verdict"]["decision"],
        "unadmitted": words.unadmitted(report, signed),
        "headline": words.headline(report, signed),
        "reasons": _reasons(report),
        "waivers": report.get("waivers") or [],
        "sections": sections,
        "alarms": explained.alarms(report, lambda exhibit: _picture(run, exhibit)),
        "unexplained": explained.missing(report),
        "provenance": claim,
        "standing": words.history(claim, {found["code"] for found in objections}),
        "compared": words.compared(claim, objections),
        # A policy of one's own lies in a file that only the verifier can name.
        "told_policy": name if (name := report["policy"]["name"]) in BUILTIN_POLICIES else "POLICY",
        "held": None if rows is None else panels.held(rows),
        "gaps": _gaps(report),
        "path": shlex.quote(str(report["dataset"]["path"])),
    }


def _section(run: Finished, told: Mapping[str, Any]) -> Section:
    name = told["rule"]
    return Section(
        name=name,
        words=words.rule(name),
        examination=told,
        mark=_mark(run.report, told),
        seconds=run.report["runs"].get(name, {}).get("seconds"),
        plots=_moved(told),
        rates=_rates(told),
        pictures=tuple(_picture(run, exhibit) for exhibit in told.get("exhibits", ())),
    )


def _moved(told: Mapping[str, Any]) -> tuple[tuple[plots.Column, Markup], ...]:
    """The plots of drift; none for statistics of another shape, which never cost the page."""
    if told["rule"] != "drift" or told["outcome"] != "ran":
        return ()
    with suppress(*_SHAPE):
        return tuple((column, plots.shares(column)) for column in panels.moved(told))
    return ()


def _rates(told: Mapping[str, Any]) -> Markup | None:
    if told["rule"] != "sources" or told["outcome"] != "ran":
        return None
    with suppress(*_SHAPE):
        groups, usual = panels.source_rates(told)
        return plots.rates(groups, usual) if groups else None
    return None


def _mark(report: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """The mark of a rule: the strictest decision it led to, else what its outcome was."""
    decided = {r["decision"] for r in report["verdict"]["reasons"] if r["rule"] == told["rule"]}
    if told["outcome"] != "ran":
        return str(told["outcome"])
    for decision in ("BLOCK", "QUARANTINE"):
        if decision in decided:
            return decision
    if _judged_nothing(told):
        return "unjudged"
    return "noted" if told["findings"] else "clear"


def _judged_nothing(told: Mapping[str, Any]) -> bool:
    """Whether a rule ran and had nothing to hold the data against, which is not to find nothing."""
    return (
        told["outcome"] == "ran"
        and not told["findings"]
        and told.get("statistics", {}).get("judged") == 0
    )


def _reasons(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The reasons in their order; those of one code and remedy are told together, as `texts`."""
    together: dict[tuple[str, ...], dict[str, Any]] = {}
    for reason in report["verdict"]["reasons"]:
        told = _reason(report, reason)
        key = tuple(str(told[part]) for part in ("decision", "rule", "code", "remedy"))
        together.setdefault(key, {**told, "texts": []})["texts"].append(told["text"])
    return list(together.values())


def _reason(report: Mapping[str, Any], reason: Mapping[str, Any]) -> dict[str, Any]:
    """A reason with its remedy: that of the finding it came from, or of the gap it names."""
    remedies = (
        finding["remedy"]
        for told in report["examinations"]
        for finding in told.get("findings", ())
        if (finding["rule"], finding["code"], finding["summary"])
        == (reason["rule"], reason["code"], reason["text"])
    )
    return {**reason, "remedy": next(remedies, "") or words.GAPS.get(reason["code"], "")}


def _provenance(report: Mapping[str, Any]) -> tuple[Mapping[str, Any], Sequence[Any]]:
    """What the provenance rule measured, and what it found; nothing where it did not look."""
    for told in report["examinations"]:
        if told["rule"] == "provenance":
            return told.get("statistics", {}), told.get("findings", ())
    return {}, ()


def _gaps(report: Mapping[str, Any]) -> list[Gap]:
    """Everything that did not look: it ran into something, or nobody asked it."""
    told: Sequence[Mapping[str, Any]] = report["examinations"]
    states = {"skipped": "skipped", "failed": "failed", "inapplicable": "not applicable"}
    gaps = [
        Gap(
            rules=(e["rule"],),
            state=states[e["outcome"]],
            why=e.get("reason") or e.get("error", ""),
            remedy=words.GAPS["failed"] if e["outcome"] == "failed" else "",
        )
        for e in told
        if e["outcome"] in states
    ]
    gaps += [
        Gap(rules=(e["rule"],), state="unjudged", why=e["statistics"].get("note", ""), remedy="")
        for e in told
        if _judged_nothing(e)
    ]
    return gaps + _unasked(report["policy"], {e["rule"] for e in told})


def _unasked(policy: Mapping[str, Any], examined: set[str]) -> list[Gap]:
    """The rules of the policy that left no examination, and those of this release it leaves out."""
    listed = policy["rules"]
    missing = tuple(rule for rule in listed if rule not in examined)
    left_out = tuple(rule for rule in words.RULES if rule not in (*listed, *examined))
    lost = "The policy lists this, but the report holds no examination by it."
    chosen = f"The policy {policy['name']} does not ask for this."
    gaps = (
        Gap(rules=missing, state="missing", why=lost, remedy=words.GAPS["missing"]),
        Gap(rules=left_out, state="not asked", why=chosen, remedy=""),
    )
    return [gap for gap in gaps if gap.rules]


def _picture(run: Finished, exhibit: Mapping[str, Any]) -> Picture:
    """An exhibit, embedded only if it is the PNG that the record binds; a bound page is linked."""
    name, caption = str(exhibit["name"]), str(exhibit["caption"])
    data = run.sound(f"evidence/{name}")
    if data is None:
        return Picture(name=name, caption=caption, absent=_why_absent(run, f"evidence/{name}"))
    if _PAGE.fullmatch(name):
        return Picture(name=name, caption=caption, page=f"evidence/{name}")
    if not data.startswith(_PNG) or len(data) > _MAX_PICTURE:
        return Picture(name=name, caption=caption, absent="it is no PNG, or too large for a page")
    uri = Markup("data:image/png;base64,{}").format(base64.b64encode(data).decode())
    return Picture(name=name, caption=caption, uri=uri)


def _why_absent(run: Finished, path: str) -> str:
    if any(check.path == path for check in run.checks):
        return "it is not what the record binds"
    return "it was not kept"
