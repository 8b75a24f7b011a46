"""The pages in a real browser: nothing on the console, nothing asked of any network."""

from __future__ import annotations

import re

import pytest

from guards.findings import Measured
from guards.report.html import render
from guards.report.index import Entry, index

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scene", ["backdoored", "drifted", "clean"])
def test_a_page_opens_without_a_console_line_or_a_request(chromium, make_run, scene):
    opened = chromium(render(make_run(scene)))

    assert opened.console == []
    assert opened.requests == []
    assert "examination report" in opened.dom


def test_the_index_opens_without_a_console_line_or_a_request(chromium):
    entries = [
        Entry(dataset="a", decision="PASS", why="nothing", seconds=1.0, href="a/report.html"),
        Entry(dataset="b", decision="BLOCK", why="changed", seconds=1.0, expected="PASS"),
    ]
    opened = chromium(index(entries))

    assert opened.console == []
    assert opened.requests == []
    assert "Not as expected" in opened.dom


def test_hostile_values_neither_run_nor_load(chromium, make_run, scenes):
    hostile = (
        '"><img src=http://127.0.0.1:9/x onerror=document.title="run"><script>title=1</script>'
    )
    told = scenes.found("quality", "odd", hostile, remedy=hostile)
    measured = Measured(statistics={hostile: hostile}, findings=(told,))
    scene = scenes.Scene(
        examinations=[*scenes.quiet(), scenes.examined("labels", measured)],
        dataset={"path": hostile, "name": hostile},
    )
    opened = chromium(render(make_run(scene)))

    assert opened.console == []
    assert opened.requests == []
    assert re.search(r"<title>QUARANTINE: ", opened.dom)


def test_the_picture_is_drawn(chromium, make_run):
    """A policy that forbade `data:` pictures would leave a console line."""
    forbidding = render(make_run()).replace("img-src data:;", "")

    assert any("Content Security Policy" in line for line in chromium(forbidding).console)


def test_the_probe_sees_requests_and_console_lines(chromium):
    """Without this the tests above would pass with a browser that reports nothing."""
    opened = chromium("<img src=http://127.0.0.1:9/x><script>console.log('heard')</script>")

    assert opened.requests == ["http://127.0.0.1:9/x"]
    assert any("heard" in line for line in opened.console)
