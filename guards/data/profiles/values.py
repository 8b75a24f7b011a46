"""From the types of a file to the four kinds of column that a profile knows.

Label and source are words whatever their type is. Numbers of every width become double precision
(of decimals and of integers beyond 2^53 that is the nearest one, and the column's `type` says what
it was). Times become seconds, so that a file in milliseconds and one in microseconds are alike;
zoned ones count from 1970 in UTC, and those without a zone are taken as UTC.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.data.coded import Coded, renamed
from guards.data.dataset import Dataset
from guards.data.words import words_of
from guards.digest import Digest

if TYPE_CHECKING:
    import polars as pl

WORDS, LOOKS = "words", "looks"
_LISTS = ("List(", "Array(")
_LONG = 80
_NUMBER = re.compile(r"(U?Int|Float)\d+\b|Decimal\b")
_VECTOR = re.compile(r"(List|Array)\((U?Int|Float)\d+\b")
_ITEMS = re.compile(r"(List|Array)\((String|Boolean|Categorical|Enum|Date|U?Int\d+)\b")
_HEAD, _RAGGED = 512, 0.9  # rows that say whether lists of numbers are vectors: so many of a length
_PARTS = {"Date": 1 / 86_400, "ns": 1e9, "us": 1e6, "ms": 1e3}  # of a second
_FORMS = {"Date": "moment", "Datetime": "moment", "Time": "clock", "Duration": "duration"}
_TOKEN = r"[\p{L}\p{M}\p{N}_]+"
# What is asked of rows that are not plain ASCII; the letters of Unicode's scripts, by name.
_SCRIPTS = {
    **{"latin": r"\p{Latin}", "greek": r"\p{Greek}", "cyrillic": r"\p{Cyrillic}"},
    **{"arabic": r"\p{Arabic}", "hebrew": r"\p{Hebrew}", "devanagari": r"\p{Devanagari}"},
    **{"thai": r"\p{Thai}", "hangul": r"\p{Hangul}", "han": r"\p{Han}"},
    "kana": r"[\p{Hiragana}\p{Katakana}]",
    "zero-width": r"[\x{200B}-\x{200D}\x{2060}-\x{2064}\x{FEFF}\x{00AD}\x{180E}]",
    "direction": r"[\x{202A}-\x{202E}\x{2066}-\x{2069}\x{200E}\x{200F}\x{061C}]",
}
_PLAIN = {"control": r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F]", "empty": r"^\s*$"}
MARKS = (*_SCRIPTS, *_PLAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a column of this type is to a profile: `kind` is numeric, category, text or vector.

    Vectors that are made of the texts or pictures of another column have that as `source`, and
    WORDS or LOOKS as `made`.
    """

    name: str
    type: str
    kind: str
    form: str = "number"
    source: str = ""
    made: str = ""

    @property
    def column(self) -> str:
        """The column of the data that is read for it."""
        return self.source or self.name

    @property
    def wide(self) -> bool:
        """Whether one value may be large, so that few are held at once."""
        return self.kind in ("text", "vector")

    def unlike(self, other: Kind) -> bool:
        """Whether two columns cannot be compared; one of nothing but nulls is like any other."""
        return "Null" not in (self.type, other.type) and (self.kind, self.form) != (
            other.kind,
            other.form,
        )


def kinds(dataset: Dataset) -> Mapping[str, Kind]:
    """The columns that a profile describes: label, source, features, text, and number lists.

    Beside these what texts and pictures look like as vectors, see
    :mod:`guards.data.profiles.places`.
    """
    roles = dataset.roles
    special = [name for name in (roles.label, roles.source) if name]
    texts = [roles.text] if roles.text else []
    taken = {*special, *roles.features, *texts, roles.id, roles.image}
    lists = [n for n, d in dataset.schema.items() if d.startswith(_LISTS) and n not in taken]
    found = {name: _kind(name, dataset.schema[name]) for name in roles.features}
    found |= {name: kind for name in lists if (kind := _of_lists(dataset, name)) is not None}
    words = {name: Kind(name=name, type=dataset.schema[name], kind="category") for name in special}
    plainly = {**words, **found, **{name: _text(name, dataset.schema[name]) for name in texts}}
    return {**{kind.name: kind for kind in _made(dataset)}, **plainly}


def source_of(name: str) -> str:
    """The column of texts or pictures that vectors of this name are made of, or the name itself."""
    for made in (WORDS, LOOKS):
        if name.endswith(f" ({made})"):
            return name.removesuffix(f" ({made})")
    return name


def _made(dataset: Dataset) -> Iterator[Kind]:
    """The vectors that are made of the text and of the picture."""
    roles = dataset.roles
    for source, made in ((roles.text, WORDS), (roles.image, LOOKS)):
        dtype = dataset.schema[source] if source else ""
        readable = "Binary" in dtype if made == LOOKS else _text(source or "", dtype).kind == "text"
        if source and readable:
            name = f"{source} ({made})"
            yield Kind(name=name, type=dtype, kind="vector", source=source, made=made)


def told_apart(dataset: Dataset) -> frozenset[str]:
    """The columns that a profile describes beside label and source: what rows differ by."""
    return frozenset(kinds(dataset).keys() - {dataset.roles.label, dataset.roles.source})


def plain(values: pl.Series, kind: Kind) -> pl.Series:
    """A column as Float64 (NaN stays NaN) or, of categories, as short strings."""
    import polars as pl

    if kind.kind == "numeric":
        return _seconds(values).cast(pl.Float64, strict=False)
    if values.dtype.is_float():
        values = values.fill_nan(None)
    return shortened(words_of(values))


def values_of(dataset: Dataset, name: str) -> pl.Series:
    """One whole column as :func:`plain` gives it, NaN as missing; it is in memory at once."""
    special = name in (dataset.roles.label, dataset.roles.source)
    kind = _kind(name, dataset.schema[name])
    if special or kind.wide:
        kind = Kind(name=name, type=kind.type, kind="category")
    values = plain(dataset.frame([name]).to_series(), kind)
    return values.fill_nan(None) if kind.kind == "numeric" else values


def brief(words: Coded) -> Coded:
    """As :func:`plain` does it, of words whose distinct ones are known."""
    short = shortened(words.known)
    return words if short is words.known else renamed(words, short)


def shortened(words: pl.Series) -> pl.Series:
    """Words of more than 80 characters are cut, and told apart by a digest."""
    import polars as pl

    # No word has more characters than bytes, and bytes need no counting.
    if not (words.str.len_bytes() > _LONG).any():
        return words
    long = words.filter(words.str.len_chars() > _LONG).unique()
    short = [f"{word[:_LONG]}~{Digest.of(word.encode()).short}" for word in long]
    return words.replace(long, pl.Series(short, dtype=pl.String))


def tokens(found: pl.Series) -> pl.DataFrame:
    """In how many of these lists of tokens each token stands: columns `value` and `count`."""
    import polars as pl

    words = shortened(found.explode().drop_nulls().rename("value"))
    return words.value_counts(name="count").with_columns(pl.col("count").cast(pl.Int64))


def token_lists(texts: pl.Series) -> pl.Series:
    """The tokens of each text, each once; long ones are not shortened."""
    return texts.str.to_lowercase().str.extract_all(_TOKEN).list.unique()


def marks(texts: pl.Series) -> dict[str, int]:
    """In how many of these texts each of MARKS stands."""
    held = texts.drop_nulls()
    other = held.filter(held.str.len_bytes() != held.str.len_chars())
    found = {name: int(other.str.contains(told).sum()) for name, told in _SCRIPTS.items()}
    ascii_ = held.filter(held.str.len_bytes() == held.str.len_chars())
    found["latin"] += int(ascii_.str.contains(r"[A-Za-z]").sum())
    return found | {name: int(held.str.contains(told).sum()) for name, told in _PLAIN.items()}


def mark_word(mark: str) -> str:
    """What stands for a mark among the tokens of a text; no token looks like it."""
    return f"({mark})"


def marked_tokens(texts: pl.Series, wanted: Collection[str]) -> pl.Series:
    """The tokens of each text, and those of its marks that are wanted by :func:`mark_word`."""
    import polars as pl

    told = {**_SCRIPTS, **_PLAIN}
    column, tokens = pl.col("text"), pl.Series("tokens", token_lists(texts))
    held = [
        pl.when(column.str.contains(told[mark])).then(pl.lit(mark_word(mark)))
        for mark in MARKS
        if mark_word(mark) in wanted
    ]
    frame = pl.DataFrame([texts.alias("text"), tokens])
    return frame.select(pl.concat_list("tokens", *held).list.drop_nulls()).to_series()


def _kind(name: str, dtype: str) -> Kind:
    if _NUMBER.match(dtype):
        return Kind(name=name, type=dtype, kind="numeric")
    if _VECTOR.match(dtype):
        return Kind(name=name, type=dtype, kind="vector")
    form = _FORMS.get(dtype.partition("(")[0])
    if form is not None:
        return Kind(name=name, type=dtype, kind="numeric", form=form)
    return Kind(name=name, type=dtype, kind="category")


def _of_lists(dataset: Dataset, name: str) -> Kind | None:
    """Vectors, where nearly all lists of numbers have one length; else lists of items, or nothing.

    Lists of items are to a profile what texts are: how long, and which items they hold.
    """
    dtype = dataset.schema[name]
    if _VECTOR.match(dtype) and not (dtype.startswith("List(") and _ragged(dataset, name)):
        return Kind(name=name, type=dtype, kind="vector")
    known = _ITEMS.match(dtype) or _VECTOR.match(dtype)
    return Kind(name=name, type=dtype, kind="text", form="list") if known else None


def _ragged(dataset: Dataset, name: str) -> bool:
    """Whether the first lists are of many lengths; where there is none they may be vectors."""
    lengths = dataset.columns(name).head(_HEAD).collect().to_series().list.len().drop_nulls()
    common = int(lengths.value_counts()["count"].max() or 0) if len(lengths) else 0  # type: ignore[arg-type]
    return common < _RAGGED * len(lengths)


def items(lists: pl.Series) -> pl.Series:
    """The items of each list as words, each once; numbers that are not whole are none."""
    import polars as pl

    inner = getattr(lists.dtype, "inner", pl.Null())
    if inner.is_float():
        return pl.Series(lists.name, [[]], dtype=pl.List(pl.String)).new_from_index(0, len(lists))
    return lists.cast(pl.List(inner)).cast(pl.List(pl.String)).list.unique()


def _text(name: str, dtype: str) -> Kind:
    words = dtype in ("String", "Null") or dtype.startswith(("Categorical", "Enum"))
    return Kind(name=name, type=dtype, kind="text") if words else _kind(name, dtype)


def _seconds(values: pl.Series) -> pl.Series:
    """Times and durations as seconds; other values as they are."""
    import polars as pl

    dtype = values.dtype
    if not dtype.is_temporal():
        return values
    unit = getattr(dtype, "time_unit", None) or ("Date" if dtype == pl.Date else "ns")
    return values.to_physical().cast(pl.Float64) / _PARTS[unit]
