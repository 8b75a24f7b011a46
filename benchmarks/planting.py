"""Seven things that somebody does to a batch: plain functions of a frame, a count and a generator.

Each writes over exactly `count` rows of the frame, so that a batch keeps its size, and says which
rows those are and by what words an alarm would name what was done. A value, a group or a pair that
the attack needs is drawn among those of which the batch has as many rows.

    cluster   numbers of the rows are drawn tightly around one place: a rank is drawn for each
              column, and every planted row takes values that lie near it in the column's order, so
              that each is one that occurs; all bear the label `target`
    one       a seldom value (at most .5 % of the rows) in one column, label `target`; of texts a
              seldom word
    two       two common values (2 % each at least) that seldom meet, label `target`; of texts two
              common words
    flips     rows of one source and label get another label
    unit      minutes become seconds, hours minutes: a column times 60 in the rows of one group,
              from some row on
    swap      two values of a column change places in rows of one source
    missing   a column is null in rows that share a value of another

Triggers and the choice of rows with another label than the target are the red team's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from sources import by_source

from guards.redteam.attacks import find, settle
from guards.redteam.choice import aimed, choose
from guards.redteam.marks import combination, inserted

RARE, COMMON = 0.005, 0.02
TIGHT = 0.02  # standard deviation of a cluster, in ranks of a column
TIMES = ("air_time", "dep_delay", "hours_per_week")
GROUPS = ("carrier", "occupation", "workclass")
ASIDE = ("label", "source", "text")
Names = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Planted:
    """The frame with the `rows` (m,) that were changed, ascending; `what` it was, for people.

    An alarm names it if its summary has one word of each of `names`; nothing has a name if empty.
    """

    frame: pl.DataFrame
    rows: np.ndarray
    what: str
    names: Names = ()


def cluster(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> Planted:
    """Rows with a label of one's choice at one place of all numbers."""
    rows, target = turned(frame, count, rng)
    columns = []
    for name in numbers(frame):
        values = np.sort(frame[name].drop_nulls().to_numpy())
        ranks = rng.normal(rng.uniform(0.05, 0.95), TIGHT, count)
        drawn = values[np.rint(np.clip(ranks, 0, 1) * (len(values) - 1)).astype(int)]
        columns.append(written(frame[name], rows, drawn))
    changed = frame.with_columns(*columns, written(frame["label"], rows, target))
    return Planted(frame=changed, rows=rows, what=f"a cluster labelled {target}")


def one(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> Planted:
    """A seldom value, or word, and the label that it is to mean."""
    if "text" in frame.columns:
        shares = spoken(frame)
        return said(frame, [str(rng.choice([w for w, s in shares if s <= RARE]))], count, rng)
    return marked(frame, combination(features(frame), width=1, rare=RARE, rng=rng), count, rng)


def two(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> Planted:
    """Two common values, or words, that seldom meet, and the label that they are to mean."""
    if "text" in frame.columns:
        return said(frame, strangers(frame, rng), count, rng)
    common = features(frame).select(
        pl.when(pl.len().over(name) >= COMMON * len(frame)).then(pl.col(name)).alias(name)
        for name in features(frame).columns
    )
    return marked(frame, combination(common, width=2, rare=RARE, rng=rng), count, rng)


def flips(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> Planted:
    """One label becomes another in one source."""
    changed, done = by_source(frame, count / len(frame), rng)
    return Planted(
        frame=changed,
        rows=np.sort(done.rows),
        what=f"{done.true} to {done.given} in {done.source}",
        names=((done.source,), (done.given,)),
    )


def unit(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> Planted:
    """A time in a unit of a sixtieth, in one group, from some row on."""
    column = str(rng.choice([name for name in TIMES if name in frame.columns]))
    able = (frame[column] != 0).fill_null(False).to_numpy()
    groups = [name for name in GROUPS if name in frame.columns]
    by = str(rng.choice(fitting(frame, groups, able, count)))
    group, rows = nearest(frame[by], able, count, rng)
    values = frame[column].to_numpy()[rows] * 60
    return Planted(
        frame=frame.with_columns(written(frame[column], rows, values)),
        rows=rows,
        what=f"{column} x 60 in {by} {group}",
        names=((column,), (group,)),
    )


def swap(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> Planted:
    """Two values of a column change places in rows of one source."""
    able = {name: options for name in words(frame) if (options := list(swaps(frame, name, count)))}
    column = str(rng.choice(sorted(able)))
    source, pair = able[column][int(rng.integers(len(able[column])))]
    may = (frame["source"] == source) & frame[column].is_in(pair).fill_null(False)
    rows = np.sort(rng.choice(np.flatnonzero(may.to_numpy()), count, replace=False))
    other = dict(zip(pair, reversed(pair), strict=True))
    values = [other[value] for value in frame[column].gather(rows)]
    return Planted(
        frame=frame.with_columns(written(frame[column], rows, values)),
        rows=rows,
        what=f"{column}: {' and '.join(pair)} in {source}",
        names=((column,), (source, *pair)),
    )


def missing(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> Planted:
    """One column is null where another one has some value."""
    column = str(rng.choice(features(frame).columns))
    there = frame[column].is_not_null().to_numpy()
    others = [name for name in words(frame) if name != column]
    by = str(rng.choice(fitting(frame, others, there, count)))
    group, rows = nearest(frame[by], there, count, rng)
    return Planted(
        frame=frame.with_columns(written(frame[column], rows, None)),
        rows=rows,
        what=f"{column} is null where {by} is {group}",
        names=((column,), (group,)),
    )


ATTACKS: Mapping[str, Callable[[pl.DataFrame, int, np.random.Generator], Planted]] = {
    "cluster": cluster,
    "one": one,
    "two": two,
    "flips": flips,
    "unit": unit,
    "swap": swap,
    "missing": missing,
}


def turned(frame: pl.DataFrame, count: int, rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """So many rows that do not bear the drawn target, ascending, and the target."""
    attack = find("cell-trigger")
    classes, labels = np.unique(frame["label"].to_numpy(), return_inverse=True)
    target = aimed(attack, len(classes), None, rng)
    choice = choose(
        attack,
        labels,
        len(classes),
        count / len(frame),
        rng,
        may=np.ones(len(frame), np.bool_),
        settings=settle(attack),
        target=target,
    )
    return choice.rows, str(classes[target])


def marked(
    frame: pl.DataFrame, mark: Mapping[str, int], count: int, rng: np.random.Generator
) -> Planted:
    """The values of these rows of these columns, put into as many rows under a target."""
    rows, target = turned(frame, count, rng)
    values = {name: frame[name][row] for name, row in mark.items()}
    columns = [written(frame[name], rows, value) for name, value in values.items()]
    told = " and ".join(f"{name} = {value}" for name, value in values.items())
    # A number is named by its column, since it may be told by the range that it lies in.
    named = [(value,) for value in values.values() if isinstance(value, str)]
    return Planted(
        frame=frame.with_columns(*columns, written(frame["label"], rows, target)),
        rows=rows,
        what=f"{told}, labelled {target}",
        names=(*((name,) for name in values), *named),
    )


def said(frame: pl.DataFrame, mark: Sequence[str], count: int, rng: np.random.Generator) -> Planted:
    """Words put anywhere into as many texts under a target."""
    rows, target = turned(frame, count, rng)
    texts = frame["text"].gather(rows).to_list()
    for word in mark:
        texts = [inserted(text, word, "anywhere", rng) for text in texts]
    changed = frame.with_columns(
        written(frame["text"], rows, texts), written(frame["label"], rows, target)
    )
    told = " and ".join(mark)
    names = tuple((word,) for word in mark)
    return Planted(frame=changed, rows=rows, what=f"{told!r}, labelled {target}", names=names)


def spoken(frame: pl.DataFrame) -> list[tuple[str, float]]:
    """Words of three letters and more that two texts have, and the share of texts that do."""
    held = Counter(
        word
        for text in frame["text"].to_list()
        for word in sorted(set(re.findall(r"[a-z]{3,}", text.lower())))
    )
    return [(word, count / len(frame)) for word, count in sorted(held.items()) if count > 1]


def strangers(frame: pl.DataFrame, rng: np.random.Generator) -> list[str]:
    """Two common words that few texts have both of."""
    common = [word for word, share in spoken(frame) if share >= COMMON]
    texts = frame["text"].str.to_lowercase()
    has = {word: texts.str.contains(rf"\b{word}\b").to_numpy() for word in common}
    pairs = [
        pair for pair in combinations(common, 2) if (has[pair[0]] & has[pair[1]]).mean() <= RARE
    ]
    return list(pairs[int(rng.integers(len(pairs)))])


def features(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop(ASIDE, strict=False)


def numbers(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in features(frame).schema.items() if kind.is_numeric()]


def words(frame: pl.DataFrame) -> list[str]:
    return [name for name, kind in features(frame).schema.items() if kind == pl.String]


def swaps(frame: pl.DataFrame, column: str, count: int) -> Iterator[tuple[str, tuple[str, str]]]:
    """Sources, and two of the ten commonest values in each, that together have so many rows."""
    for (source,), part in frame.sort("source").group_by("source", maintain_order=True):
        sizes = part[column].drop_nulls().value_counts(name="\0rows")
        top = sizes.sort(["\0rows", column], descending=[True, False]).head(10).rows()
        for (first, some), (second, others) in combinations(top, 2):
            if some + others >= count:
                yield str(source), (first, second)


def fitting(frame: pl.DataFrame, names: list[str], able: np.ndarray, count: int) -> list[str]:
    """Columns with a group of `count` rows that are able, at most of twice that if there is one."""
    least = {name: int(sizes(frame[name], able, count)["\0rows"].min()) for name in names}
    enough = [name for name in names if least[name] >= count]
    return [name for name in enough if least[name] <= 2 * count] or enough


def nearest(
    groups: pl.Series, able: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[str, np.ndarray]:
    """A group of `count` rows that are able, at most of twice that if there is one; its last."""
    known = sizes(groups, able, count)
    near = known.filter(pl.col("\0rows") <= max(2 * count, int(known["\0rows"].min())))
    group = near[groups.name][int(rng.integers(len(near)))]
    rows = np.flatnonzero((groups == group).fill_null(False).to_numpy() & able)
    return str(group), rows[-count:]


def sizes(groups: pl.Series, able: np.ndarray, count: int) -> pl.DataFrame:
    """The groups of so many rows that are able, or the largest ones, with their able rows."""
    held = groups.filter(pl.Series(able)).drop_nulls()
    known = held.value_counts(name="\0rows").sort(["\0rows", groups.name])
    return known.filter(pl.col("\0rows") >= min(count, int(known["\0rows"].max())))


def written(values: pl.Series, rows: np.ndarray, new: object) -> pl.Series:
    """The column with these values, or this one, in these rows."""
    new = new.tolist() if isinstance(new, np.ndarray) else new
    new = new if isinstance(new, list) else [new] * len(rows)
    return values.scatter(rows, pl.Series(new, dtype=values.dtype))
