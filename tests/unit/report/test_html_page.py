"""The page of a run: what stands on it, in which order, and what it says of a changed run."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from guards.errors import Malformed, UsageError
from guards.findings import Evidence, Exhibit, Failed, Inapplicable, Measured, Severity, Skipped
from guards.report import words
from guards.report.html import render

INLINE = {"a", "b", "bdi", "code", "em", "i", "span", "svg", "use", "time"}


class Page(HTMLParser):
    """The page as a reader meets it: its ids and tags in order, and its visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids, self.tags, self.text, self._style = [], [], "", False
        self.feed(html)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._style = tag == "style"
        self.text += "" if tag in INLINE else " "
        if identity := dict(attrs).get("id"):
            self.ids.append(identity)

    def handle_endtag(self, tag):
        self._style = False
        self.text += "" if tag in INLINE else " "

    def handle_data(self, data):
        self.text += "" if self._style else data


def read(run: Path) -> Page:
    return Page(render(run))


def test_the_sections_stand_in_the_order_of_a_readers_questions(make_run):
    page = read(make_run())

    sections = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
    assert sections == ["why", "provenance", "found", "rows", "unexamined", "check"]


def test_the_verdict_its_reason_and_its_remedy_come_first(make_run):
    text = read(make_run()).text

    opening = text[: text.index("Where it came from")]
    assert "BLOCK Do not train on this data: a 4 x 4 pattern" in opening
    assert "There is one more reason below." in opening
    assert "triggers/patch-trigger" in opening
    assert "What to do: remove the rows that rows.parquet names" in opening


@pytest.mark.parametrize(
    ("scene", "sentence"),
    [
        ("clean", "These exact bytes may be trained on, where this signature is trusted."),
        ("drifted", "Set this data aside until a person has looked at it: dep_delay moved"),
        ("backdoored", "Do not train on this data"),
    ],
)
def test_the_headline_says_what_follows_in_plain_words(make_run, scene, sentence):
    assert sentence in read(make_run(scene)).text


def test_a_pass_that_no_gate_admits_says_so(make_run, scenes):
    from dataclasses import replace

    looking = replace(scenes.POLICY, name="explore", admits=False, required=("quality",))
    unsigned = scenes.Scene(examinations=scenes.quiet(), signed=False)
    replayed = scenes.Scene(examinations=scenes.quiet(), replay=True)
    explored = scenes.Scene(examinations=scenes.quiet(), policy=looking)

    assert "nobody signed this record: no gate admits" in read(make_run(unsigned)).text
    assert "the seed was chosen beforehand: no gate admits" in read(make_run(replayed)).text
    assert "for looking only: no gate admits" in read(make_run(explored)).text
    assert "PASS admits nothing" in read(make_run(explored)).text
    assert "admits nothing" not in read(make_run("clean")).text


def test_provenance_names_signer_version_expiry_sources_root_and_history(make_run, scenes):
    page = read(make_run())

    found = json.loads((make_run() / "report.json").read_text())
    signer = next(e for e in found["examinations"] if e["rule"] == "provenance")
    for told in (
        *signer["statistics"]["signers"],
        "partition 2026-11, version 7",
        "expires 20 November 2027, 08:00 UTC",
        "https://data.example/fashion",
        found["dataset"]["root"],
        "First use: no version of this name was seen before",
        "the ledger log.example/1 had 41 entries",
        "a ledger that does not go on from it was cut off or forked since",
    ):
        assert told in page.text


def test_each_finding_shows_its_evidence_severity_and_confidence(make_run):
    text = read(make_run()).text

    assert "severity high" in text
    assert "confidence high" in text
    evidence = "label-inconsistent share of the cell 0.9602 0.31 3.4 × 10⁻⁸⁷ 14.2 10,000 201"
    assert evidence in text
    assert "rows 23-26, columns 23-26" in text


def test_what_was_not_examined_is_told_with_its_reason(make_run):
    text = read(make_run("backdoored")).text

    untold = text[text.index("What was not examined") : text.index("Check it without us")]
    assert "no reference profile was given; pass --reference" in untold
    assert "could not look MemoryError: 3.1 GiB" in untold
    assert words.RULES["triggers"].blind in untold
    assert words.RULES["spectral"].blind not in untold, "a rule that did not look is not explained"


def test_the_four_kinds_of_silence_look_different(make_run, scenes):
    silent = [
        scenes.not_examined("contract", Skipped("no contract")),
        scenes.not_examined("images", Inapplicable("no image")),
        scenes.not_examined("labels", Failed("RuntimeError: it broke")),
    ]
    html = render(make_run(scenes.Scene(examinations=[*scenes.quiet(), *silent])))

    for word in ("skipped", "not applicable", "could not look", "nothing found"):
        assert re.search(rf"</svg>{word}</span>", html), word
    assert "The policy lists this, but the report holds no examination by it." in html


def test_a_pass_with_a_rule_that_could_not_look_says_so_beside_it(make_run, scenes):
    broken = scenes.not_examined("labels", Failed("RuntimeError: it broke"))
    text = read(make_run(scenes.Scene(examinations=[*scenes.quiet(), broken]))).text

    opening = text[text.index("PASS") : text.index("Where it came from")]
    assert "could not look for Labels: what this would have seen is not ruled out." in opening


def test_rules_that_the_policy_does_not_ask_for_are_named(make_run, scenes):
    from dataclasses import replace

    narrow = replace(scenes.POLICY, rules=("integrity", "provenance", "quality"))
    text = read(make_run(scenes.Scene(examinations=scenes.quiet(), policy=narrow))).text

    assert re.search("clustering[a-z, ]* not asked The policy default does not ask for this", text)


def test_rows_are_named_but_their_contents_are_not(make_run):
    page = read(make_run())

    assert "triggers: 201 rows" in page.text
    assert "part-001.parquet#3" in page.text
    assert "and 193 more" in page.text
    rows = page.text[page.text.index("Rows held") : page.text.index("What was not examined")]
    assert "label" not in rows.replace("labelled", "")


def test_the_contact_sheet_is_embedded_as_it_lies_in_evidence(make_run):
    import base64

    run = make_run()
    images = [attrs for tag, attrs in read(run).tags if tag == "img"]

    assert [image["alt"][:18] for image in images] == ["12 of 201 pictures"]
    embedded = base64.b64decode(images[0]["src"].removeprefix("data:image/png;base64,"))
    assert embedded == (run / "evidence" / "triggers-class-7.png").read_bytes()


def test_an_exhibit_that_is_no_png_is_named_and_not_embedded(make_run, scenes):
    exhibit = Exhibit(name="page.png", data=b"<svg onload=alert(1)>", caption="not a picture")
    noted = scenes.found("images", "odd", "something odd", severity=Severity.LOW)
    measured = Measured(statistics={}, findings=(noted,), exhibits=(exhibit,))
    told = [*scenes.quiet(), scenes.examined("images", measured)]
    page = read(make_run(scenes.Scene(examinations=told)))

    assert "page.png is not shown: it is no PNG" in page.text
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_a_page_among_the_evidence_is_linked_if_it_is_the_one_that_is_bound(make_run, scenes):
    exhibit = Exhibit(name="contract.datadocs.html", data=b"<p>kept", caption="Data Docs")
    noted = scenes.found("contract", "contract-broken", "x is broken", severity=Severity.LOW)
    measured = Measured(statistics={}, findings=(noted,), exhibits=(exhibit,))
    run = make_run(
        scenes.Scene(examinations=[*scenes.quiet(), scenes.examined("contract", measured)])
    )
    link = ("a", "evidence/contract.datadocs.html")

    assert link in [(tag, found.get("href")) for tag, found in read(run).tags]
    (run / "evidence" / exhibit.name).write_bytes(b"<script>")
    assert link not in [(tag, found.get("href")) for tag, found in read(run).tags]


def test_the_columns_that_moved_are_plotted_then_and_now(make_run):
    html = render(make_run("drifted"))

    assert html.count('class="ref"') == html.count('class="cur"') == 7 + 5
    assert "above 60: 35 % in this data" in html
    assert "moved by 0.214 (0.06 within the reference), p 1.0 × 10⁻⁸⁰" in html


@pytest.mark.parametrize("shape", [{"moved": 3}, {"moved": [{}]}, {"moved": [{"column": 1}]}])
def test_statistics_of_another_shape_cost_the_plot_and_not_the_page(make_run, scenes, shape):
    told = scenes.examined("drift", Measured(statistics=shape))
    html = render(make_run(scenes.Scene(examinations=[*scenes.quiet(), told])))

    assert 'class="plots"' not in html
    assert "All that it measured" in html


def test_how_to_check_without_us_gives_commands_that_the_command_line_has(make_run):
    from guards.cli import main

    text = read(make_run()).text
    commands = text[text.index("# the digests above") : text.index("Thresholds")]

    for command in ("gate", "ledger verify", "scan"):
        assert f"toadstone {command} " in commands
        with pytest.raises(SystemExit) as stopped:
            main([*command.split(), "--help"])
        assert stopped.value.code == 0
    assert "--checkpoint 41:sha256:" in commands
    assert commands.count("--policy default") == 2, "the gate asks for the policy of the record"
    assert "sha256sum report.json rows.parquet evidence/triggers-class-7.png" in commands
    assert "evidence/" not in read(make_run("clean")).text


def test_a_policy_of_ones_own_is_a_file_that_only_the_verifier_can_name(make_run, scenes):
    from dataclasses import replace

    own = replace(scenes.POLICY, name="flights")
    text = read(make_run(scenes.Scene(examinations=scenes.quiet(), policy=own))).text
    assert text.count("--policy POLICY") == 2


def test_a_path_is_quoted_for_the_shell(make_run, scenes):
    scene = scenes.Scene(examinations=scenes.quiet(), dataset={"path": "a b; rm -rf ~"})

    assert "toadstone gate 'a b; rm -rf ~' --record" in read(make_run(scene)).text


CHANGES = {
    "report.json": lambda run: _replace(run / "report.json", b'"BLOCK"', b'"PASS"'),
    "rows.parquet": lambda run: (run / "rows.parquet").write_bytes(b"PAR1"),
    "evidence/triggers-class-7.png": lambda run: (
        run / "evidence" / "triggers-class-7.png"
    ).write_bytes(b"\x89PNG\r\n\x1a\nother"),
    "evidence/extra.png": lambda run: (run / "evidence" / "extra.png").write_bytes(b"extra"),
    "record.json": lambda run: (run / "record.json").write_bytes(b"{}"),
}


def _replace(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new, 1))


@pytest.mark.parametrize("changed", CHANGES)
def test_a_changed_run_is_announced_and_shows_no_verdict(make_run, changed):
    run = make_run()
    CHANGES[changed](run)
    page = read(run)

    assert "Do not rely on this page" in page.text
    assert changed in page.text[: page.text.index("UNPROVEN Nobody can tell")]
    assert "may be trained on" not in page.text


@pytest.mark.parametrize("name", ["report.json", "rows.parquet", "evidence/triggers-class-7.png"])
def test_what_differs_is_not_shown(make_run, name):
    run = make_run()
    (run / "rows.parquet").write_bytes(b"other")
    (run / "evidence" / "triggers-class-7.png").unlink()
    page = read(run)

    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "Not shown: rows.parquet is not what the record binds." in page.text


def test_a_missing_record_binds_nothing(make_run):
    run = make_run("clean")
    (run / "record.json").unlink()

    text = read(run).text
    assert "record.json cannot be read" in text
    assert "UNPROVEN" in text


def test_a_record_of_other_data_is_a_contradiction(make_run, scenes):
    run, other = make_run("clean"), make_run("drifted")
    (run / "record.json").write_bytes((other / "record.json").read_bytes())

    assert "the record and the report differ in the verdict: QUARANTINE, and PASS" in read(run).text


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b'{"schema": 2}', b'{"schema": 1}', b"[" * 100_000, b"\xff"]
)
def test_what_is_no_report_is_refused_with_its_place(make_run, content):
    run = make_run()
    (run / "report.json").write_bytes(content)

    with pytest.raises(Malformed, match=r"report\.json"):
        render(run)


def test_a_directory_that_is_no_run_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="the directory that a scan wrote"):
        render(tmp_path)


def test_the_page_is_the_same_each_time(make_run):
    run = make_run()

    assert render(run) == render(run)


def test_the_page_is_valid_enough_that_every_tag_is_closed(make_run):
    open_tags = []
    void = {"meta", "link", "img", "br", "rect", "circle", "path", "use"}

    class Nesting(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in void:
                open_tags.append(tag)

        def handle_endtag(self, tag):
            if tag not in void:
                assert open_tags.pop() == tag

    for scene in ("backdoored", "drifted", "clean"):
        Nesting().feed(render(make_run(scene)))
        assert open_tags == []


def test_ids_are_unique_and_every_link_within_the_page_leads_somewhere(make_run):
    page = read(make_run())

    assert len(page.ids) == len(set(page.ids))
    links = {attrs["href"][1:] for tag, attrs in page.tags if tag in ("a", "use")}
    assert links <= set(page.ids)


def test_an_alarm_that_could_not_be_explained_says_so(make_run, scenes):
    run = make_run()
    report = json.loads((run / "report.json").read_text())
    report["explanation"] = {"missing": "MemoryError: <b>too large</b>"}
    (run / "report.json").write_text(json.dumps(report))
    page = render(run)

    assert "could not be explained further" in page
    assert "&lt;b&gt;too large" in page
    assert "could not be explained" not in render(make_run())


def test_figures_of_the_evidence_have_plain_names_and_say_what_they_mean(make_run, scenes):
    told = {"auc_in_probe_features": 0.99, "believed": 1.0, "of its own": 3}
    finding = scenes.found(
        "triggers", "odd", "odd", evidence=(Evidence(statistic="s", detail=told),)
    )
    measured = Measured(statistics={"believed": "a class"}, findings=(finding,))
    scene = scenes.Scene(examinations=[*scenes.quiet(), scenes.examined("triggers", measured)])
    page = read(make_run(scene))

    assert "told apart by a model 0.99 learnt by a model 1 of its own 3" in page.text
    assert "believed a class" in page.text, "what is no figure of ours keeps its name"
    assert any("0.5 is chance" in str(attrs.get("title")) for _, attrs in page.tags)


def test_reasons_of_one_kind_are_told_together_with_one_remedy(make_run, scenes):
    marks = tuple(
        scenes.found("patches", "planted-mark", f"{n} pictures carry a mark", remedy="look at them")
        for n in (31, 32)
    )
    measured = Measured(statistics={}, findings=marks)
    scene = scenes.Scene(examinations=[scenes.examined("patches", measured)])
    text = read(make_run(scene)).text

    why = text[: text.index("Every rule that was asked")]
    assert "31 pictures carry a mark 32 pictures carry a mark What to do: look at them" in why
    assert why.count("look at them") == 1


def test_a_rule_without_anything_to_judge_by_found_nothing_in_no_sense(make_run, scenes):
    told = {"judged": 0, "note": "1 version; at least 3 earlier versions are needed"}
    scene = scenes.Scene(
        examinations=[*scenes.quiet(), scenes.examined("history", Measured(statistics=told))]
    )
    text = read(make_run(scene)).text

    assert "Beside earlier versions history nothing judged" in text
    unexamined = text[text.index("What was not examined") :]
    assert "history nothing judged 1 version; at least 3 earlier versions are needed" in unexamined
