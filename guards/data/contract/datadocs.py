"""GX's Data Docs of a validation, as one page that loads nothing, runs nothing and never changes.

GX renders the results. Its page fetches some 18 style sheets, fonts, scripts and pictures from six
hosts, one of them with the time in its address, and holds identifiers that are random. So what GX
renders is read as HTML, and only known tags without behaviour and their classes are written again,
under a style sheet of our own in the layout of GX. A Content-Security-Policy forbids the rest.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("datadocs.css")
# Whatever is inside of these is left out: they behave, load or belong to a site of many pages.
_DROPPED = frozenset({"head", "script", "style", "footer", "button", "label", "svg", "iframe"})
_KEPT = frozenset(
    {
        *("a", "b", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li"),
        *("ol", "p", "pre", "small", "span", "strong", "sub", "sup", "table", "tbody", "td"),
        *("tfoot", "th", "thead", "tr", "u", "ul"),
    }
)
_VOID = frozenset({"br", "hr"})
_EMPTY = _VOID | {"img", "input", "link", "meta", "source", "wbr", "col"}
# The bar of the site, and the card of buttons, each by its classes.
_ELSEWHERE = (frozenset({"navbar", "sticky-top"}), frozenset({"card", "mb-3"}))
_SECTION = re.compile(r"#?section-\d+")
_HEAD = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    "<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
)


def page(validation: Mapping[str, Any]) -> bytes:
    """The page of a validation in GX's JSON form; ModuleNotFoundError without GX.

    The same validation and the same release of GX give the same bytes.
    """
    cleaner = _Cleaner()
    cleaner.feed(_rendered(validation))
    cleaner.close()
    title = f"{validation['suite_name']}: validation results"
    head = _HEAD.format(title=escape(title), style=STYLE.read_text(encoding="utf-8"))
    body = re.sub(r"\s*\n\s*", "\n", "".join(cleaner.out))
    return f"{head}{body}</body>\n</html>\n".encode()


def _rendered(validation: Mapping[str, Any]) -> str:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    import great_expectations as gx
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
    )
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view.view import DefaultJinjaPageView

    gx.get_context(mode="ephemeral")
    told = ExpectationSuiteValidationResult(
        success=validation["success"],
        results=[_one(result) for result in validation["results"]],
        suite_name=validation["suite_name"],
        statistics=dict(validation["statistics"]),
        meta={"great_expectations_version": gx.__version__},
    )
    document = ValidationResultsPageRenderer(run_info_at_end=True).render(told)
    view: Any = DefaultJinjaPageView()
    return str(view.render(document))


def _one(result: Mapping[str, Any]) -> Any:
    from great_expectations.core.expectation_validation_result import ExpectationValidationResult
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    config = result["expectation_config"]
    return ExpectationValidationResult(
        success=result["success"],
        expectation_config=ExpectationConfiguration(**config),
        result=dict(result["result"]),
        meta={},
        exception_info=dict(result["exception_info"]),
    )


class _Cleaner(HTMLParser):
    """Writes again what is harmless; its text is escaped, its attributes are chosen."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Keep a known tag; begin to leave out at one that behaves."""
        given = {name: value or "" for name, value in attrs}
        classes = set(given.get("class", "").split())
        if self._inside or tag in _DROPPED or any(one <= classes for one in _ELSEWHERE):
            if tag not in _EMPTY:
                self._inside.append(tag)
        elif tag in _KEPT:
            self.out.append(f"<{tag}{_attributes(given)}>")

    def handle_endtag(self, tag: str) -> None:
        """Close a tag that was kept; end leaving out where it began."""
        if self._inside:
            if tag in self._inside:
                while self._inside.pop() != tag:
                    pass
        elif tag in _KEPT - _VOID:
            self.out.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Keep text."""
        if not self._inside:
            # What GX writes where it is told no run: it would be another one with every repeat.
            self.out.append(escape("see record.json" if data.strip() == "__none__" else data))


def _attributes(given: Mapping[str, str]) -> str:
    kept = {}
    if "class" in given:
        kept["class"] = given["class"]
    for name in ("id", "href"):
        if _SECTION.fullmatch(given.get(name, "")):
            kept[name] = given[name]
    for name in ("colspan", "rowspan"):
        if given.get(name, "").isdigit():
            kept[name] = given[name]
    return "".join(f' {name}="{escape(value)}"' for name, value in kept.items())
