"""Plots and the way values are written: what is drawn is in proportion, and no input breaks it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from guards.report import panels, values
from guards.report.plots import Column, Rate, rates, scatter, shares

CSS = Path(__file__).parents[3] / "guards" / "report" / "page.css"
SHARES = st.floats(0, 1)


def column(ordered: bool, then: list[float], now: list[float]) -> Column:
    return Column(
        name="delay",
        bins=tuple(f"bin {i}" for i in range(len(then))),
        reference=tuple(then),
        current=tuple(now),
        ordered=ordered,
    )


def bars(svg: str, kind: str) -> list[dict[str, str]]:
    return [r.attrib for r in ElementTree.fromstring(svg).iter("rect") if r.get("class") == kind]


@pytest.mark.parametrize(("ordered", "side"), [(True, "height"), (False, "width")])
def test_bars_are_in_proportion_to_their_shares(ordered, side):
    svg = shares(column(ordered, [0.2, 0.8], [0.6, 0.4]))
    drawn = [float(bar[side]) for kind in ("ref", "cur") for bar in bars(svg, kind)]

    tallest = max(drawn)
    assert [length / tallest * 0.8 for length in drawn] == pytest.approx([0.2, 0.8, 0.6, 0.4], 0.01)


@given(st.lists(st.tuples(SHARES, SHARES), max_size=30), st.booleans())
def test_every_bar_lies_within_the_picture(pairs, ordered):
    svg = shares(column(ordered, [a for a, _ in pairs], [b for _, b in pairs]))
    width, height = map(float, ElementTree.fromstring(svg).attrib["viewBox"].split()[2:])

    drawn = bars(svg, "ref") + bars(svg, "cur")
    assert len(drawn) == 2 * len(pairs)
    for bar in drawn:
        x, y, wide, tall = (float(bar[key]) for key in ("x", "y", "width", "height"))
        assert 0 <= x <= x + wide <= width + 1
        assert 0 <= y <= y + tall <= height + 1


@given(st.lists(st.tuples(SHARES, SHARES), min_size=1, max_size=20), SHARES)
def test_rates_and_their_intervals_lie_within_the_picture(found, usual):
    groups = [
        Rate(name="g", rate=min(a, b), rows=10, low=min(a, b), high=max(a, b)) for a, b in found
    ]
    root = ElementTree.fromstring(rates(groups, usual))
    width = float(root.attrib["viewBox"].split()[2])

    at = [float(circle.attrib["cx"]) for circle in root.iter("circle")]
    assert all(0 <= x <= width for x in at)
    assert len(at) == len(groups)
    assert [x for _, x in sorted(zip([g.rate for g in groups], at, strict=True))] == sorted(at)


def test_every_mark_can_be_read_without_seeing_it():
    root = ElementTree.fromstring(
        rates([Rate(name="ewr", rate=0.25, rows=1200, low=0.2, high=0.3)])
    )

    assert root.attrib["role"] == "img"
    assert root.find("g/title").text == "ewr: 25 % of 1,200 rows, between 20 % and 30 %"


def test_a_hostile_name_stays_text_in_svg():
    name = "<script>alert(1)</script>\u202e"
    drawn = shares(
        Column(name=name, bins=(name,), reference=(1.0,), current=(0.5,), ordered=False)
    ) + rates([Rate(name=name, rate=0.1, rows=1)])

    assert "<script" not in drawn
    assert "\u202e" not in drawn
    assert "&lt;script" in drawn


def test_only_columns_that_moved_or_were_found_are_plotted():
    def told(name: str, effect: float) -> dict:
        shape = {"kind": "numeric", "bins": ["a"], "reference": [1.0], "current": [1.0]}
        return {"column": name, "effect": effect, "p_value": 0.0, **shape}

    examination = {
        "findings": [{"subject": {"name": "found"}}],
        "statistics": {"moved": [told("far", 0.3), told("near", 0.01), told("found", 0.01)]},
    }
    assert [c.name for c in panels.moved(examination)] == ["far", "found"]


def test_categories_keep_those_that_changed_most_and_drop_empty_ones():
    then = [0.0, *[0.05] * 20]
    now = [0.0, *[0.05] * 18, 0.0, 0.1]
    told = {
        "column": "carrier",
        "kind": "categorical",
        "effect": 0.05,
        "p_value": 0.5,
        "bins": [f"c{i}" for i in range(21)],
        "reference": then,
        "current": now,
    }
    [plotted] = panels.moved({"findings": [], "statistics": {"moved": [told]}})

    assert set(plotted.bins[:2]) == {"c19", "c20"}
    assert len(plotted.bins) == panels.TOP_CATEGORIES
    assert "c0" not in plotted.bins


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_rate_is_wilsons(pair):
    hits, sample = pair
    reference = binomtest(hits, sample).proportion_ci(0.95, method="wilson")

    assert panels.wilson(hits, sample) == pytest.approx((reference.low, reference.high), abs=1e-6)


def test_a_source_that_was_found_is_marked_and_never_cut():
    sources = [
        {"source": f"s{i}", "rows": 100, "sure": 50, "contradicted": 25 if i else 1}
        for i in range(60)
    ]
    examination = {
        "findings": [{"subject": {"name": "s0"}}],
        "statistics": {"sources": [*sources, {"source": "empty", "sure": 0, "contradicted": 0}]},
    }
    shown, usual = panels.source_rates(examination)

    assert len(shown) == panels.TOP_SOURCES
    assert [rate.name for rate in shown if rate.marked] == ["s0"]
    assert usual == pytest.approx((59 * 25 + 1) / (60 * 50))


def test_a_rule_without_such_statistics_has_no_plots():
    assert panels.moved({"findings": [], "statistics": {"rows": 3}}) == ()
    assert panels.source_rates({"findings": [], "statistics": {"rows": 3}}) == ((), 0.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.96024, "0.9602"),
        (1234567, "1,234,567"),
        (1234.5678, "1,235"),
        (0.00012345, "1.2 × 10⁻⁴"),
        (-2.5e9, "-2.5 × 10⁹"),
        (0.0, "0"),
        (True, "yes"),
        (None, "none"),
        ("as text", "as text"),
        (math.inf, "inf"),
        (math.nan, "nan"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert values.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "< 10⁻³⁰⁰"), (3.4e-87, "3.4 × 10⁻⁸⁷"), (0.0421, "0.042"), (1, "1.000")],
)
def test_p_values_never_claim_to_be_zero(value, text):
    assert values.p_value(value) == text


def test_other_units_are_written_for_people():
    assert [values.size(n) for n in (0, 999, 61_100, 4_181_232, 5 * 10**12)] == [
        *("0 bytes", "999 bytes", "61.1 kB", "4.18 MB", "5 TB")
    ]
    assert [values.seconds(s) for s in (0.0, 0.053, 4.1, 300)] == [
        *("< 1 ms", "53 ms", "4.1 s", "5.0 min")
    ]
    assert [values.share(s) for s in (0, 0.0045, 0.099, 0.5)] == ["0 %", "0.45 %", "9.9 %", "50 %"]
    assert values.moment("2026-11-23T03:20:00Z") == "23 November 2026, 03:20 UTC"
    assert values.moment("no time") == "no time"
    assert values.count(None) == "–"


@given(st.floats(-1e300, 1e300))
def test_a_number_as_written_is_the_number(value):
    raised = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    text = re.sub(r" × 10(\S+)", lambda m: "e" + m[1].translate(raised), values.number(value))

    assert math.isclose(float(text.replace(",", "")), value, rel_tol=0.05, abs_tol=1e-300)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def palettes() -> list[dict[str, str]]:
    roots = re.findall(r":root \{(.*?)\}", CSS.read_text(encoding="utf-8"), re.DOTALL)
    found = [dict(re.findall(r"--([a-z]+): (#[0-9a-f]{3,6})", root)) for root in roots]
    return [
        {k: v if len(v) == 7 else "#" + "".join(c * 2 for c in v[1:]) for k, v in p.items()}
        for p in found
    ]


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark", "print"])
@pytest.mark.parametrize("ground", ["paper", "card"])
@pytest.mark.parametrize("text", ["ink", "quiet", "pass", "hold", "block", "open", "note", "void"])
def test_text_has_the_contrast_of_wcag_aa(palette, ground, text):
    """WCAG 2.2, 1.4.3: text has a contrast ratio of at least 4.5:1."""
    light, dark = sorted([luminance(palette[ground]), luminance(palette[text])], reverse=True)

    assert (light + 0.05) / (dark + 0.05) >= 4.5


POINTS = st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), min_size=1, max_size=20)


@given(POINTS, POINTS)
def test_every_row_of_a_class_laid_flat_is_drawn_within_the_picture(held, rest):
    svg = scatter(held, rest, {"held": len(held), "rest": 900})
    root = ElementTree.fromstring(svg)
    width, height = map(float, root.attrib["viewBox"].split()[2:])

    rings, triangles = list(root.iter("circle")), list(root.find("g[@class='held']").iter("path"))
    assert (len(rings), len(triangles)) == (len(rest), len(held))
    starts = [re.match(r"M([\d.-]+) ([\d.-]+)l", mark.get("d")).groups() for mark in triangles]
    for x, y in [(ring.get("cx"), ring.get("cy")) for ring in rings] + starts:
        assert 0 <= float(x) <= width
        assert 0 <= float(y) <= height
    assert f"{len(held)} held rows (triangles) and 900 others (rings)" in root.get("aria-label")
