"""Whatever stands in names and values, the page loads nothing, runs nothing, and shows it."""

from __future__ import annotations

import json
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guards.digest import Digest
from guards.findings import Evidence, Exhibit, Measured, Severity, Skipped, Subject
from guards.report.html import render
from guards.report.index import Entry, index
from guards.report.values import visible

ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "</title></svg></details><iframe src=//evil>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\x1b[31mred\x1b[0m",
    "invoice\u202egpj.exe",
    "zero\u200bwidth\ufeff",
    "\u2066isolate\u2069",
    "&lt;already&gt; &amp; escaped",
    "https://evil.example/?q=",
]
LOADING = {"src", "href", "xlink:href", "srcset", "data", "poster", "action", "formaction", "style"}


class Elements(HTMLParser):
    """Every element with its attributes, and the text outside of the style sheet."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._in = "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data):
        self.text += "" if self._in == "style" else data

    @property
    def names(self) -> set[str]:
        return {tag for tag, _ in self.tags}


def scene_of(scenes, text: str):
    """A run in which `text` stands wherever the outside has a say."""
    finding = scenes.found(
        "quality",
        "odd-values",
        text,
        subject=Subject(kind="column", name=text),
        severity=Severity.HIGH,
        evidence=(Evidence(statistic=text, value=text, threshold=text, detail={text: [text]}),),
        remedy=text,
    )
    sources = [{"source": text, "rows": 10, "sure": 10, "contradicted": 5}]
    moved = {
        "column": text,
        "kind": "categorical",
        "effect": 0.5,
        "spread": 0.1,
        "p_value": 0.0,
        "bins": [text, "other"],
        "reference": [0.5, 0.5],
        "current": [1.0, 0.0],
    }
    told = [
        *scenes.quiet()[:1],
        scenes.provenance(
            name=text, history=text, sources=[{"uri": text, "license": text}], signers=[text]
        ),
        scenes.examined(
            "quality",
            Measured(
                statistics={text: {text: text}, "list": [text]},
                findings=(finding,),
                exhibits=(Exhibit(name="sheet.png", data=b"x", caption=text),),
            ),
        ),
        scenes.examined("drift", Measured(statistics={"moved": [moved]})),
        scenes.examined("sources", Measured(statistics={"sources": sources})),
        scenes.not_examined("contract", Skipped(text)),
    ]
    dataset = {
        "path": text,
        "name": text,
        "partition": text,
        "files": [{"path": text, "size": 1, "digest": str(Digest.of(b""))}],
        "roles": {text: text},
    }
    rows = [{**scenes.held_rows("quality", 1, text)[0], "row_id": text, "file": text}]
    return scenes.Scene(examinations=told, dataset=dataset, rows=rows)


@pytest.fixture
def harmless(make_run) -> Elements:
    return Elements(render(make_run("backdoored")))


@pytest.mark.parametrize("text", ATTACKS)
def test_an_attack_in_every_place_adds_no_element(make_run, scenes, text):
    plain = Elements(render(make_run(scene_of(scenes, "plain"))))
    attacked = Elements(render(make_run(scene_of(scenes, text))))

    assert [tag for tag, _ in attacked.tags] == [tag for tag, _ in plain.tags]
    assert [set(attrs) for _, attrs in attacked.tags] == [set(attrs) for _, attrs in plain.tags]
    assert visible(text) in attacked.text


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(
        st.one_of(
            st.sampled_from("<>&\"'`={}%/\\ \n\t\u202e\u200b\x1b"), st.characters(codec="utf-8")
        ),
        min_size=1,
        max_size=30,
    )
)
def test_any_text_in_every_place_adds_no_element(tmp_path_factory, scenes, text):
    """Everything escaped: the elements of the page do not depend on what the data says."""
    text = text.replace("None", "none")  # a value of None is a missing one
    run = scenes.build(tmp_path_factory.mktemp("runs") / "run", scene_of(scenes, text))
    page = Elements(render(run))

    expected = {"html", "head", "meta", "title", "link", "style", "body", "svg", "symbol", "circle"}
    expected |= {"path", "main", "header", "p", "b", "span", "time", "div", "h1", "h2", "h3", "h4"}
    expected |= {"bdi", "br", "dl", "dt", "dd", "section", "ol", "li", "code", "table", "caption"}
    expected |= {"thead", "tbody", "tr", "th", "td", "a", "use", "details", "summary", "article"}
    expected |= {"figure", "figcaption", "g", "rect", "text", "i", "em", "pre", "footer"}
    assert page.names <= expected
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert not unseen(page.text)


def unseen(text: str) -> set[str]:
    """Characters of the kinds that draw nothing, but for the line ends of our own templates."""
    return {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Co", "Cn"}} - {"\n"}


def test_nothing_is_loaded_and_nothing_runs(harmless):
    assert "script" not in harmless.names
    assert harmless.names.isdisjoint(
        {"iframe", "object", "embed", "form", "base", "video", "audio"}
    )
    for tag, attrs in harmless.tags:
        for name in LOADING & set(attrs):
            assert attrs[name].startswith(("data:", "#")), (tag, name, attrs[name])


def test_a_content_security_policy_forbids_the_rest(harmless):
    policies = [a["content"] for t, a in harmless.tags if a.get("http-equiv")]

    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_style_sheet_fetches_nothing(make_run):
    style = re.search(r"<style>(.*?)</style>", render(make_run("clean")), re.DOTALL)

    assert style
    assert "@import" not in style[1]
    assert "url(" not in style[1]
    assert "http" not in style[1]


def test_sources_are_text_and_never_links(make_run):
    page = Elements(render(make_run()))

    assert "https://data.example/fashion" in page.text
    assert all(a.get("href", "#").startswith("#") for t, a in page.tags if t == "a")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a\\u202eb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("no\u00a0break", "no\\xa0break"),
        ("line\u2028end", "line\\u2028end"),
        ("\U000e0041tag", "\\U000e0041tag"),
        ("hangul\u3164filler", "hangul\\u3164filler"),
        ("Zürich 東京 é", "Zürich 東京 é"),
    ],
)
def test_what_cannot_be_seen_is_written_out(text, shown):
    assert visible(text) == shown


@given(st.text())
def test_visible_text_holds_only_what_draws(text):
    assert not unseen(visible(text)) - {"\n"}
    assert "\n" not in visible(text)


def test_long_text_is_cut_and_says_how_long_it_was():
    assert visible("x" * 5000).endswith("… (5,000 characters)")
    assert len(visible("x" * 5000)) < 2100


def test_a_name_in_the_record_is_never_opened(make_run, tmp_path):
    """The record binds what it likes; only what lies in the run directory is read."""
    run = make_run("clean")
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    (run / "evidence" / "link.png").symlink_to(secret)
    report = json.loads((run / "report.json").read_text())
    for name in ("link.png", "../../secret.png"):
        told = {"name": name, "digest": "", "caption": "c"}
        report["examinations"][2]["exhibits"].append(told)
    (run / "report.json").write_text(json.dumps(report))
    page = Elements(render(run))

    assert "link.png is not shown: it was not kept" in page.text
    assert "../../secret.png is not shown: it was not kept" in page.text
    assert "img" not in page.names


@pytest.mark.parametrize("href", ["javascript:alert(1)", "//evil.example", "https://evil.example"])
def test_links_of_the_index_stay_in_its_directory(href):
    entry = Entry(dataset="d", decision="PASS", why="", seconds=1.0, href=href)
    links = [a["href"] for tag, a in Elements(index([entry])).tags if tag == "a"]

    assert all(link.startswith("./") and ":" not in link for link in links)


@pytest.mark.parametrize("text", ATTACKS)
def test_the_index_escapes_too(text):
    page = Elements(index([Entry(dataset=text, decision="BLOCK", why=text, seconds=1.0)], text))
    plain = Elements(index([Entry(dataset="d", decision="BLOCK", why="w", seconds=1.0)], "t"))

    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert visible(text) in page.text


def test_templates_never_switch_escaping_off():
    here = Path(__file__).parents[3] / "guards" / "report"
    templates = [path.read_text(encoding="utf-8") for path in here.glob("*.html")]

    assert len(templates) == 4
    assert not any("safe" in re.findall(r"\|\s*(\w+)", text) for text in templates)
    assert not any("autoescape" in text for text in templates)
