"""The file of a profile is believed in every number, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from guards.data.dataset import open_dataset
from guards.data.profile import build_profile, parse_profile, to_bytes
from guards.errors import Malformed

SAMPLES = Path(__file__).parents[3] / "data_samples"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> bytes:
    """A profile with columns of every kind."""
    root = tmp_path_factory.mktemp("profile")
    generator = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "x": generator.normal(size=400),
            "w": generator.choice(["a", "b", "c"], 400),
            "text": ["some words", "others"] * 200,
            "v": generator.normal(size=(400, 3)).tolist(),
            "when": pl.Series(range(400)).cast(pl.Date),
        }
    )
    frame.write_parquet(root / "a.parquet")
    return to_bytes(build_profile(open_dataset(root, ["a.parquet"])))


def at(document, name):
    return next(c for c in document["columns"] if c["name"] == name)


def view(document):
    return at(document, "v")["views"][0]


def spoil(written: bytes, change) -> bytes:
    document = json.loads(written)
    change(document)
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_fixture_is_a_profile(written):
    assert to_bytes(parse_profile(written)) == written == spoil(written, lambda d: None)
    kinds = {c["name"]: c["kind"] for c in json.loads(written)["columns"]}
    assert set(kinds.values()) == {"numeric", "category", "text", "vector"}


CHANGES = {
    "another schema": lambda d: d.update(schema="toadstone-profile/3"),
    "no schema": lambda d: d.pop("schema"),
    "one more key": lambda d: d.update(extra=1),
    "no pairs": lambda d: d.pop("pairs"),
    "a column twice": lambda d: d["columns"].append(d["columns"][0]),
    "a column short": lambda d: d["columns"].pop(),
    "another kind": lambda d: d["columns"][0].update(kind="other"),
    "a kind's keys under another": lambda d: at(d, "x").update(kind="category"),
    "one row less": lambda d: at(d, "x").update(count=399),
    "a null more": lambda d: at(d, "x").update(nulls=1),
    "negative nulls": lambda d: at(d, "x").update(nulls=-1),
    "a boolean count": lambda d: at(d, "x").update(nans=False),
    "three infinities": lambda d: at(d, "x").update(infinite=[0, 0, 0]),
    "a form of its own": lambda d: at(d, "when").update(form="calendar"),
    "no lowest": lambda d: at(d, "x").update(low=None),
    "lowest above the points": lambda d: at(d, "x").update(low=100),
    "highest below the points": lambda d: at(d, "x").update(high=-100),
    "points that descend": lambda d: at(d, "x")["points"].reverse(),
    "a point twice": lambda d: at(d, "x")["points"].__setitem__(1, at(d, "x")["points"][0]),
    "a point more": lambda d: at(d, "x")["points"].append(1e9),
    "a point in words": lambda d: at(d, "x")["points"].__setitem__(0, "1"),
    "a weight of nothing": lambda d: at(d, "x")["weights"].__setitem__(0, 0),
    "a weight too much": lambda d: at(d, "x")["weights"].append(1),
    "too many points": lambda d: at(d, "x").update(points=list(range(2000)), weights=[1] * 2000),
    "an error beyond the rows": lambda d: at(d, "x").update(error=401),
    "edges that descend": lambda d: at(d, "x")["edges"].reverse(),
    "an edge less": lambda d: at(d, "x")["edges"].pop(),
    "too many edges": lambda d: at(d, "x").update(edges=list(range(99)), cells=[4] * 101),
    "cells of other rows": lambda d: at(d, "x")["cells"].__setitem__(3, 0),
    "rows moved to missing": lambda d: at(d, "x").update(
        cells=[400, *[0] * (len(at(d, "x")["cells"]) - 1)]
    ),
    "registers of another length": lambda d: at(d, "x").update(distinct="0" * 1023),
    "registers of another alphabet": lambda d: at(d, "x").update(distinct="!" * 1024),
    "a spread above one": lambda d: at(d, "x").update(spread=1.5),
    "a spread below zero": lambda d: at(d, "w").update(null_spread=-0.1),
    "a value twice": lambda d: at(d, "w").update(values=["a", "a", "b"]),
    "a value more": lambda d: at(d, "w")["values"].append("d"),
    "a value that is none": lambda d: at(d, "w")["values"].__setitem__(0, 1),
    "counts that ascend": lambda d: at(d, "w")["counts"].reverse(),
    "more rest than rows": lambda d: at(d, "w").update(rest=7),
    "a group more": lambda d: at(d, "w")["groups"].append("d"),
    "too many groups": lambda d: at(d, "w").update(groups=[str(i) for i in range(99)]),
    "a token in more texts than there are": lambda d: at(d, "text")["counts"].__setitem__(0, 401),
    "a mark that is not known": lambda d: at(d, "text")["marks"].update(runes=1),
    "a mark that is missing": lambda d: at(d, "text")["marks"].pop("latin"),
    "more marks than texts": lambda d: at(d, "text")["marks"].update(latin=401),
    "lengths of another column": lambda d: at(d, "text")["length"].update(name="x"),
    "one more key inside": lambda d: at(d, "text")["length"].update(extra=1),
    "a variance below zero": lambda d: at(d, "v")["variance"].__setitem__(0, -1),
    "a dimension more": lambda d: at(d, "v")["mean"].append(0),
    "more odd rows than missing ones": lambda d: at(d, "v").update(odd=1),
    "a view less": lambda d: at(d, "v")["views"].pop(),
    "no views": lambda d: at(d, "v").pop("views"),
    "a view more": lambda d: at(d, "v")["views"].append(at(d, "v")["views"][0]),
    "views in another order": lambda d: at(d, "v")["views"].reverse(),
    "a view of another column": lambda d: view(d).update(name="w view 1"),
    "a view of no name": lambda d: view(d).update(name=1),
    "one more key in a view": lambda d: view(d).update(extra=1),
    "a view without its edges": lambda d: view(d).pop("edges"),
    "edges of a view that descend": lambda d: view(d)["edges"].reverse(),
    "an edge of a view less": lambda d: view(d)["edges"].pop(),
    "an edge of a view in words": lambda d: view(d)["edges"].__setitem__(0, "0"),
    "too many edges of a view": lambda d: view(d).update(
        edges=list(range(20)), cells=[0, 400, *[0] * 20]
    ),
    "a cell of a view less": lambda d: view(d)["cells"].pop(),
    "a negative cell of a view": lambda d: view(d)["cells"].__setitem__(1, -1),
    "cells of a view that do not add up": lambda d: view(d)["cells"].__setitem__(2, 999),
    "rows of a view moved to missing": lambda d: view(d).update(
        cells=[400, *[0] * (len(view(d)["cells"]) - 1)]
    ),
    "cells of a view that its triples contradict": lambda d: view(d)["cells"].sort(),
    "a spread of a view above one": lambda d: view(d).update(spread=1.5),
    "a triple of an absent view": lambda d: d["triples"][-1]["columns"].__setitem__(2, "v view 11"),
    "a triple of one view": lambda d: d["triples"][-1].update(columns=["v view 1"] * 3),
    "a pair of views": lambda d: d["pairs"][0].update(first="v view 1", second="v view 2"),
    "a pair of an absent column": lambda d: d["pairs"][0].update(first="absent"),
    "a pair of one column": lambda d: d["pairs"][0].update(second=d["pairs"][0]["first"]),
    "a pair twice": lambda d: d["pairs"].append(d["pairs"][0]),
    "a join that nobody makes": lambda d: d["pairs"][0].update(join=7),
    "a join that it is not": lambda d: d["pairs"][0].update(join=2),
    "a row of a pair less": lambda d: d["pairs"][0]["counts"].pop(),
    "a cell of a pair less": lambda d: d["pairs"][0]["counts"][0].pop(),
    "a pair that does not add up": lambda d: d["pairs"][0]["counts"][1].__setitem__(1, 9999),
    "a dispersion above one": lambda d: d["pairs"][0].update(rho=2),
    "no triples": lambda d: d.pop("triples"),
    "a triple twice": lambda d: d["triples"].append(d["triples"][0]),
    "a triple of an absent column": lambda d: d["triples"][0]["columns"].__setitem__(0, "absent"),
    "a triple of two columns": lambda d: d["triples"][0].update(columns=["x", "x", "w"]),
    "a triple of four columns": lambda d: d["triples"][0]["columns"].append("text"),
    "a triple with a cell less": lambda d: d["triples"][0]["counts"].pop(),
    "a triple with a cell more": lambda d: d["triples"][0]["counts"].append(0),
    "a triple that does not add up": lambda d: d["triples"][0]["counts"].reverse(),
    "a dispersion of a triple above one": lambda d: d["triples"][0].update(rho=1.1),
    "a negative cell of a triple": lambda d: d["triples"][0]["counts"].__setitem__(0, -1),
    "groups of a number": lambda d: d["groups"][0].update(by="x"),
    "groups in an absent column": lambda d: d["groups"][0].update(column="absent"),
    "a movement less": lambda d: d["groups"][0]["moved"].pop(),
    "a movement in words": lambda d: d["groups"][0]["moved"].__setitem__(0, "0"),
    "negative blocks": lambda d: d.update(blocks=[-1]),
    "blocks of other rows": lambda d: d["blocks"].append(1),
    "a role of no column": lambda d: d["roles"].update(absent="feature"),
    "a number for a role": lambda d: d["roles"].update(x=1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_anything_but_a_profile_is_malformed(written, name):
    with pytest.raises(Malformed):
        parse_profile(spoil(written, CHANGES[name]))


def test_only_the_canonical_form_is_read(written):
    for other in (
        *(written + b"\n", written.replace(b",", b", ", 1), b"", b"[]", b"{}", b"1", written[:-1]),
        *(b"\xff", written.replace(b'"nans":0', b'"nans":0.0', 1)),
    ):
        with pytest.raises(Malformed):
            parse_profile(other)


def test_a_profile_of_the_first_version_says_what_to_do():
    old = b'{"blocks":[1],"cells":[],"columns":[],"roles":{},"schema":"toadstone-profile/1"}'
    with pytest.raises(Malformed, match="build it again with this release"):
        parse_profile(old)


def test_the_place_of_what_is_wrong_is_told(written):
    changed = spoil(written, lambda d: at(d, "w").update(rest=7))
    with pytest.raises(Malformed, match=r"columns\[\d\].counts: and the rest do not add up"):
        parse_profile(changed)
