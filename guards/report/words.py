"""What a page says in plain words: each rule's question, what it cannot see, what a verdict means.

The long form, with how each rule decides and what its power was measured to be, is docs/rules.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule for a reader: its title, the question that it asks, what it is blind to."""

    title: str
    question: str
    blind: str


RULES: Mapping[str, Rule] = {
    "integrity": Rule(
        title="Integrity",
        question="Is this a tree of plain files, without links, hidden or colliding names?",
        blind="What the files hold; whether they are the ones that were signed, provenance says.",
    ),
    "provenance": Rule(
        title="Provenance",
        question="Did a key that the verifier trusts for this name sign for these bytes, in time?",
        blind="A trusted producer who signs bad data, or whose key was stolen; and, on first use, "
        "an older version shown as the newest.",
    ),
    "quality": Rule(
        title="Quality",
        question="Is every file readable, every row told apart, every label there?",
        blind="Values that are wrong but well-formed.",
    ),
    "contract": Rule(
        title="Contract",
        question="Does the data keep the expectations that were written down for it?",
        blind="Everything that nobody wrote an expectation for.",
    ),
    "drift": Rule(
        title="Drift",
        question="Which columns moved from the reference, by more than chance and enough to care?",
        blind="A change that is small in every group alike, one spread over many batches, and a "
        "cluster of few rows.",
    ),
    "excess": Rule(
        title="Excess",
        question="Do some values, or two together, hold more rows than the reference leads to "
        "expect?",
        blind="Fewer than ten rows, values and pairs that are common already, and a known value "
        "or a new meeting of two words whose rows have labels as usual.",
    ),
    "crowds": Rule(
        title="Crowds",
        question="Do rows lie close together where the reference has next to nothing?",
        blind="Crowds of fewer than twelve rows, wide in all but two columns, or at a place "
        "where the reference lies already; without a reference it does not look.",
    ),
    "swaps": Rule(
        title="Swaps",
        question="Do rows of one source bear a value where the rest of the row speaks for another?",
        blind="Values that no single other column tells apart, a few rows in each of many "
        "sources, and data without a column of sources; without a reference it does not look.",
    ),
    "labels": Rule(
        title="Labels",
        question="Which labels does a model that did not see them contradict, and how many in all?",
        blind="Poison whose labels are right (clean-label attacks), and noise that a model cannot "
        "tell from hard examples.",
    ),
    "sources": Rule(
        title="Sources",
        question="Are labels contradicted in one source or for a short time, and not elsewhere?",
        blind="Labels changed evenly over all sources and times, or where the features agree; and "
        "sources with too few rows to tell.",
    ),
    "images": Rule(
        title="Images",
        question="Can every picture be decoded, and does each occur under one label only?",
        blind="A picture that is well-formed and looks like the others.",
    ),
    "codec": Rule(
        title="Codec",
        question="Were some rows stored or edited by another hand, and do they bear one label?",
        blind="Rows that were all stored again alike, planted rows spread over the labels, and "
        "traces among many encoders.",
    ),
    "patches": Rule(
        title="Shared marks",
        question="Is one small mark at one place in many different pictures of one label?",
        blind="Marks without a fixed place or an edge, marks at the rim, and marks that most rows "
        "of a label have or that are spread over the labels like honest ones.",
    ),
    "waves": Rule(
        title="Shared waves",
        question="Is one faint regular pattern laid over many different pictures of one label?",
        blind="Waves slower than two and a half periods a picture, waves in colours alone, a "
        "phase or frequency drawn anew for each row, patterns that are no wave, and what most "
        "rows of a label have or all labels share.",
    ),
    "triggers": Rule(
        title="Triggers",
        question="Does something in a picture, or its source, decide the label against its looks?",
        blind="Triggers without a fixed place or exact grey levels (warps, blends that JPEG "
        "weakened), planted pictures whose label is right, and much about photographs.",
    ),
    "backdoor": Rule(
        title="Learnt directions",
        question="Does something that a short training learns turn labels against the looks?",
        blind="Labels that are right, triggers that as many rows carry under their right label, "
        "and what the training does not learn.",
    ),
    "spectral": Rule(
        title="Spectral signatures",
        question="Do a few rows lie far out on one side of their class, and not belong to it?",
        blind="Poison that the probe did not learn, that lies inside the class, that goes to "
        "every class at once, or whose labels are right.",
    ),
    "clustering": Rule(
        title="Activation clustering",
        question="Does a class fall in two, with a smaller part that does not belong to it?",
        blind="Planted rows too few to pull the split away from a natural one, spread over every "
        "class, or with labels that are right.",
    ),
    "cells": Rule(
        title="Planted cells",
        question="Does something that rows of a table or texts share decide their label against "
        "everything else about them?",
        blind="Labels that are right, a trigger that as many rows carry under their own label, "
        "fewer than eight rows, turns to a label that most rows bear anyway, and a style or a "
        "small change of numbers that no value or word gives away.",
    ),
    "features": Rule(
        title="Planted values",
        question="Do rows of a table share a label, rare values, and the look of another label?",
        blind="Rare values under a label that fits them; poison without a value in common.",
    ),
    "trusted": Rule(
        title="Beside trusted rows",
        question="Which rows are more suspicious than rows that somebody checked?",
        blind="Trusted rows that are poisoned or drawn from elsewhere, poison in equal parts in "
        "every class, and labels that are right.",
    ),
    "history": Rule(
        title="Beside earlier versions",
        question="Has a class or source moved away from what was admitted before?",
        blind="A first version that is poisoned already, a move by a little in every version, and "
        "a poison rate below what sampling moves.",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A figure of the evidence for a reader: its name, and what it means."""

    name: str
    means: str


_FIELDS: Mapping[str, Field] = {
    "auc_in_probe_features": Field(
        name="told apart by a model",
        means="How often a row with the pattern lies further out than an ordinary row of the "
        "class, by what a short training sees in them: 1 is always, 0.5 is chance.",
    ),
    "believed": Field(
        name="learnt by a model",
        means="Share of these rows whose label a short training came to give them. Planted rows "
        "are learnt, wrong labels are not.",
    ),
    "box": Field(name="region", means="Row and column of its upper left pixel, height, width."),
    "whole_picture": Field(
        name="whole picture", means="Whether the pattern is spread over more than a quarter of it."
    ),
    "cell": Field(
        name="strongest group",
        means="The rows that say most: those with one small window of pixels (where it is, and its "
        "grey levels), or those far out along a learnt direction (from where on, how many).",
    ),
    "levels": Field(name="grey levels", means="Row by row, from 0 (black) to 7 (white)."),
    "poison_rate": Field(
        name="poison rate", means="The held rows as a share of all, with its exact 95 % interval."
    ),
    "lift": Field(name="times the usual", means="Its share here over its share of all other rows."),
    "inconsistent": Field(
        name="labels denied", means="Rows that look like another class to a label-free eye."
    ),
    "apart": Field(
        name="unlike each other",
        means="How much these pictures differ from one another, over what pictures of their labels "
        "do: near 1 they have nothing but the mark in common.",
    ),
    "bits": Field(
        name="the mark", means="Its 3 x 3 pixels, row by row: 1 is brighter than their mean."
    ),
    "top": Field(name="pixel row", means="Of its upper edge, counted from 0."),
    "left": Field(name="pixel column", means="Of its left edge, counted from 0."),
    "windows": Field(name="windows", means="Of 3 x 3 pixels that make up the mark."),
    "periods_down": Field(
        name="periods down", means="Of the wave, from the upper edge to the lower one."
    ),
    "periods_right": Field(
        name="periods across", means="Of the wave, from the left edge to the right one."
    ),
    "pixels_a_period": Field(name="pixels a period", means="From one crest to the next."),
    "turns_at_the_centre": Field(
        name="phase", means="In turns, at the middle of the picture: the same in all of them."
    ),
    "amplitude": Field(
        name="amplitude", means="In grey levels, after edges were cut down to faint structure."
    ),
    "stands": Field(
        name="stands apart",
        means="The wave in these pictures less that in others which look like them, in robust "
        "deviations of the latter.",
    ),
    "covers": Field(
        name="at the rim",
        means="The wave near the picture's rim over its mean: near 1 it is everywhere, near 0 "
        "it belongs to what the picture shows.",
    ),
    "pure": Field(
        name="purity", means="The share of what sets these pictures apart that is this one wave."
    ),
    "rows_of_label": Field(name="rows of this label", means="Those among them that bear it."),
    "share_of_label": Field(
        name="share of this label", means="How much of all rows of the label carries the mark."
    ),
    "over_expected": Field(
        name="times too many", means="Rows of the label, over what their sources lead to expect."
    ),
    "gathers": Field(
        name="gathers", means="Whether too many of the rows bear one label for chance or source."
    ),
    "gathered_p_value": Field(
        name="p of gathering", means="How often chance would gather as many."
    ),
    "denied": Field(
        name="share denied", means="Share of the rows that do not look like their label."
    ),
    "denied_lift": Field(
        name="denied, times the usual", means="That share over the one of the other rows."
    ),
    "turn_rate": Field(
        name="turn rate",
        means="Of the rows that do not look like the label, the share that bears it all the same.",
    ),
    "layers_that_agree": Field(
        name="layers that agree", means="In how many layers of the network the same shows."
    ),
    "tail": Field(name="looked at", means="The share of rows, the most startling ones."),
    "second_witness": Field(
        name="second witness",
        means="What speaks against these rows besides lying apart: their labels, their source, or "
        "the class's own history.",
    ),
    "alpha": Field(name="held against", means="The p-value below which this rule alarms."),
    "p_value": Field(name="p", means="How often chance alone would give as much or more."),
}

_UNKNOWN = Rule(title="", question="", blind="")

GAPS: Mapping[str, str] = {
    "skipped": "Provide what the rule lacks, then scan again.",
    "failed": "Repair what kept the rule from looking, then scan again; a crash is never a pass.",
    "missing": "Scan again with every rule that the policy requires.",
    "other-bytes": "Scan exactly the bytes that are to be admitted.",
    "nothing-examined": "Check that the path holds data files, and that the policy lists rules.",
}


def rule(name: str) -> Rule:
    """The words for a rule; for one that this release does not know, its name as title."""
    return RULES.get(name) or Rule(title=name, question=_UNKNOWN.question, blind=_UNKNOWN.blind)


def field(key: str) -> Field | None:
    """A figure's plain name and meaning; None for one that goes by its own name."""
    return _FIELDS.get(key)


def headline(report: Mapping[str, Any], signed: bool) -> str:
    """One sentence that says what the verdict means for whoever wants to train."""
    decision, reasons = report["verdict"]["decision"], report["verdict"]["reasons"]
    if decision != "PASS":
        order = {"BLOCK": "Do not train on this data", "QUARANTINE": "Set this data aside"}
        until = " until a person has looked at it" if decision == "QUARANTINE" else ""
        return f"{order[decision]}{until}: {_first(reasons)}{_others(len(reasons) - 1)}"
    clean = "Nothing that the policy objects to was found"
    if why := unadmitted(report, signed):
        return f"{clean}, but {why}: no gate admits data by it."
    if any(waiver["waived"] for waiver in report.get("waivers") or ()):
        clean = "What the policy objects to was found, and an approver waived it"
    return f"{clean}. These exact bytes may be trained on, where this signature is trusted."


def unadmitted(report: Mapping[str, Any], signed: bool) -> str:
    """Why no gate would admit data by this record, whatever its verdict; empty when one may."""
    if not report["policy"]["admits"]:
        return "this policy is for looking only"
    if not signed:
        return "nobody signed this record"
    return "" if report["replayable"] else "the seed was chosen beforehand"


_HISTORY = {
    "first-use": "First use: no version of this name was seen before, so that an older one is not "
    "shown as the newest rests on the producer's word.",
    "known": "Known: not older than any version of this name seen here before.",
    "pinned": "Pinned: the version that the verifier asked for.",
    "unknown": "Unknown: there is no claim by a known key to look up.",
}
_CONTRADICTED = {
    "rollback": "Contradicted: a newer version of this name was seen here before.",
    "fork": "Contradicted: other bytes were seen here under this version.",
    "wrong-version": "Not the version that the verifier pinned.",
    "version-gap": "Known, but not every version since the last one was seen here.",
}


def history(claim: Mapping[str, Any], codes: Collection[str]) -> str:
    """How the version stands to what was seen before; `codes` are what provenance found."""
    against = (told for code, told in _CONTRADICTED.items() if code in codes)
    standing = str(claim.get("history", ""))
    return next(against, _HISTORY.get(standing, standing))


def compared(claim: Mapping[str, Any], findings: Iterable[Mapping[str, Any]]) -> str:
    """How the bytes stand to the claim: only files can differ, not who signed or when."""
    if not claim:
        return ""
    if not claim.get("name"):
        return "no claim to compare them with"
    counts = (
        evidence["value"]
        for found in findings
        if found["subject"]["kind"] == "file"
        for evidence in found["evidence"]
    )
    if differing := sum(counts):
        are = "file is" if differing == 1 else "files are"
        return f"{differing} {are} not as the claim says"
    if claim.get("signers"):
        return "exactly those that were signed"
    return "exactly those of the claim, which nobody who is trusted signed"


def _first(reasons: list[Mapping[str, Any]]) -> str:
    text = str(reasons[0]["text"]).strip() if reasons else "no reason was recorded"
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _others(count: int) -> str:
    if count < 1:
        return ""
    return f" There {'is one more reason' if count == 1 else f'are {count} more reasons'} below."
