"""Confident learning: which labels does an out-of-fold model contradict, and how many in all.

Northcutt, Jiang and Chuang, Journal of Artificial Intelligence Research 70 (2021). A row is
counted for class j when its probability of j reaches the mean probability of j among the rows
that are labelled j; the counts, calibrated to the label totals, estimate the joint distribution
of given and true labels; from each off-diagonal cell as many rows are flagged as it holds, those
of largest margin p_j - p_given first. The flags are those of cleanlab 2.9's default,
`find_label_issues(filter_by="prune_by_noise_rate")`, to the row: sums are taken in its order, in
the precision of the probabilities, and where a tie decides, it is broken by the same sort of the
same numbers. benchmarks/statistics.py holds the two beside one another.

The matrix of probabilities is read once, in chunks of rows that fit a cache; what is kept is a few
numbers a row. The joint is its cells that are not zero: with 10,000 classes nothing of 10,000 x
10,000 is held. Within a class only the rows that are contradicted at all are ranked, and sorted
only as far as the last one that is flagged, unless fewer are contradicted than are to be flagged.

Shapes throughout: `labels` int (rows,), values in 0 ... classes - 1; `probabilities` float32 or
float64 (rows, classes), each row given by a model that did not see it, or the same numbers as
:class:`guards.numerics.likely.Likely`, whose zeros are not written down; the answers are the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from guards.numerics.likely import Likely, Probabilities, at, block, chunks, likeliest

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_CLOSE = 1e-6
# No probability reaches it, so a class that no row is labelled with is never counted for.
_NEVER = 2.0
_CHUNK = 2**18  # probabilities that are looked at together: 2 MiB of them
_SUMMED, _MARGINS = 2**20, 2**20  # numbers of one sum, and margins, that are held together


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joint:
    """The cells of the joint that are not zero, ordered by given and then by true label.

    `given`, `true` and `counts` are int64 (cells,): so many rows are labelled `given` and are
    `true` by estimate; their sum is the number of rows.
    """

    given: Ints
    true: Ints
    counts: Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sorted:
    """Rows by class: those of class k are `rows[bounds[k] : bounds[k + 1]]`, ascending."""

    rows: npt.NDArray[np.int32]
    bounds: Ints

    @property
    def sizes(self) -> Ints:
        """Rows of each class."""
        return np.diff(self.bounds)

    def of(self, group: int) -> npt.NDArray[np.int32]:
        """The rows of one class."""
        return self.rows[self.bounds[group] : self.bounds[group + 1]]


def class_thresholds(labels: Ints, probabilities: Probabilities) -> Floats:
    """Mean self-confidence of each class, shape (classes,); 2 for a class without rows."""
    return _thresholds(_by_class(labels, probabilities.shape[1]), probabilities)


def confident_classes(labels: Ints, probabilities: Probabilities) -> Ints:
    """The class that each row is confidently counted for, shape (rows,); -1 for none."""
    counted, _ = _counted(labels, probabilities, class_thresholds(labels, probabilities))
    return counted.astype(np.int64)


def confident_joint(labels: Ints, probabilities: Probabilities) -> Joint:
    """Calibrated counts of (given, true) label that sum to the rows, cells of zero left out."""
    groups = _by_class(labels, probabilities.shape[1])
    counted, _ = _counted(labels, probabilities, _thresholds(groups, probabilities))
    return _calibrated(groups, counted)


def label_issues(labels: Ints, probabilities: Probabilities) -> Bools:
    """Flag the rows whose label is probably wrong, shape (rows,)."""
    groups = _by_class(labels, probabilities.shape[1])
    counted, denied = _counted(labels, probabilities, _thresholds(groups, probabilities))
    cells = _to_prune(_calibrated(groups, counted), groups)
    bounds = np.searchsorted(cells.given, np.arange(len(groups.bounds)))
    flagged = np.zeros(len(labels), np.bool_)
    for given in np.flatnonzero(np.diff(bounds)).tolist():
        rows, here = groups.of(given), slice(bounds[given], bounds[given + 1])
        if len(rows) > 1:
            # Whoever is not denied has a margin of _CLOSE at most, behind all that are above it.
            above, wanted = rows[denied[rows]], cells.counts[here]
            unclear = _flag_clear(flagged, above, given, cells.true[here], wanted, probabilities)
            for true, count in zip(cells.true[here][unclear], wanted[unclear], strict=True):
                margin = at(probabilities, rows, true) - at(probabilities, rows, given)
                flagged[rows[_largest(margin, int(count))]] = True
    return flagged & denied


def normalized_margin(labels: Ints, probabilities: Probabilities) -> Floats:
    """How far the best other class is above the given one, shape (rows,), from 0 (not) to 1."""
    if isinstance(probabilities, Likely):
        own = at(probabilities, np.arange(len(labels)), labels)
        sparse: Floats = (_best_other(labels, probabilities)[1] - own + 1) / 2
        return sparse
    margins = np.empty(len(labels), probabilities.dtype)
    for part in chunks(probabilities, _CHUNK):
        others, here = probabilities[part].copy(), np.arange(len(labels[part]))
        given = others[here, labels[part]]
        others[here, labels[part]] = -np.inf
        margins[part] = (others.max(axis=1) - given + 1) / 2
    return margins


def noise_rate(
    labels: Ints, probabilities: Probabilities, *, seed: int, draws: int = 400
) -> tuple[float, float, float]:
    """The share of wrong labels that the model implies: `(rate, low, high)`.

    The interval is the central 95 % of a multinomial bootstrap of the confident counts, with the
    thresholds held. It is model-based: it covers sampling and not the model's own bias, so it may
    lie beside the truth. Compare it between batches; do not read it as a rate of errors.
    """
    classes, rows = probabilities.shape[1], len(labels)
    counted = confident_classes(labels, probabilities)
    # Of a class only this counts: rows counted for it, for another class, for none.
    kind = np.where(counted < 0, 2, np.where(counted == labels, 0, 1))
    table = np.bincount(labels * 3 + kind, minlength=classes * 3)
    some = np.flatnonzero(table)
    generator, rates = np.random.default_rng(seed), []
    for _ in range(draws):
        drawn = np.zeros_like(table)
        drawn[some] = generator.multinomial(rows, table[some] / rows)
        rates.append(_wrong(drawn))
    low, high = np.quantile(rates, [0.025, 0.975])
    return _wrong(table), float(low), float(high)


def _wrong(table: Ints) -> float:
    """The noise rate of counts by class and kind: counted for it, for another, for none."""
    right, wrong, none = table.reshape(-1, 3).T
    right, total = np.maximum(right, 1), (right + wrong + none).sum()
    shares = right / (right + wrong)
    return float(1 - (shares * table.reshape(-1, 3).sum(axis=1)).sum() / max(total, 1))


def _by_class(labels: Ints, classes: int) -> _Sorted:
    # Of 16 bits numpy's stable sort is a radix sort.
    small = labels.astype(np.uint16) if classes <= 2**16 else labels
    sizes = np.bincount(labels, minlength=classes)
    rows = np.argsort(small, kind="stable").astype(np.int32)
    return _Sorted(rows=rows, bounds=np.concatenate([[0], np.cumsum(sizes)]))


def _thresholds(groups: _Sorted, probabilities: Probabilities) -> Floats:
    sizes = groups.sizes
    # The precision in which the peer compares: that of the numbers, unless a class is missing.
    means = np.full(len(sizes), _NEVER, probabilities.dtype if sizes.all() else np.float64)
    for group in np.flatnonzero(sizes).tolist():
        means[group] = at(probabilities, groups.of(group), group).mean()
    thresholds: Floats = np.maximum(means, 2 * _CLOSE)
    return thresholds


def _counted(
    labels: Ints, probabilities: Probabilities, thresholds: Floats
) -> tuple[npt.NDArray[np.int32], Bools]:
    """What each row is counted for, -1 for nothing; whether another class is above the given."""
    if isinstance(probabilities, Likely):
        return _counted_sparse(labels, probabilities, thresholds)
    counted = np.empty(len(labels), np.int32)
    denied = np.empty(len(labels), np.bool_)
    rows = max(1, _CHUNK // probabilities.shape[1])
    # Written out for every row, so that one loop compares them all.
    cuts, everyone = np.tile(thresholds - _CLOSE, (rows, 1)), np.arange(rows)
    for part in chunks(probabilities, _CHUNK):
        chunk, given = probabilities[part], labels[part]
        here = everyone[: len(given)]
        reached = chunk >= cuts[: len(given)]
        best, first = chunk.argmax(axis=1), reached.argmax(axis=1)
        none = ~reached[here, first]
        reached[here, first] = False
        several = reached[here, reached.argmax(axis=1)]
        counted[part] = np.where(several, best, np.where(none, -1, first))
        unsure = np.flatnonzero(best != given)
        nudged = chunk[unsure]
        nudged[here[: len(unsure)], given[unsure]] += _CLOSE
        denied[part] = False
        denied[part][unsure] = nudged.argmax(axis=1) != given[unsure]
    return counted, denied


def _counted_sparse(
    labels: Ints, told: Likely, thresholds: Floats
) -> tuple[npt.NDArray[np.int32], Bools]:
    """The same of sparse numbers: no threshold is so low that a zero reaches it."""
    cuts = np.append(thresholds - _CLOSE, _NEVER)
    reached, everyone = told.values >= cuts[told.labels], np.arange(len(labels))
    first, many = reached.argmax(axis=1), reached.sum(axis=1)
    counted = np.where(many == 1, told.labels[everyone, first], -1)
    counted = np.where(many > 1, likeliest(told)[0], counted)
    nudged = at(told, everyone, labels)
    nudged += _CLOSE
    other, highest = _best_other(labels, told)
    denied = (highest > nudged) | ((highest == nudged) & (other < labels))
    return counted.astype(np.int32), denied


def _best_other(labels: Ints, told: Likely) -> tuple[Ints, Floats]:
    """Which label but the given one is likeliest, the lowest of equal ones, and how likely."""
    rest = replace(told, values=np.where(told.labels == labels[:, None], 0, told.values))
    return likeliest(rest)


def _calibrated(groups: _Sorted, counted: npt.NDArray[np.int32]) -> Joint:
    sizes, classes = groups.sizes, len(groups.sizes)
    cells = [_cells(group, counted[groups.of(group)], classes) for group in range(classes)]
    given, true, raw = np.concatenate(cells, axis=1)
    totals = np.bincount(given, raw, minlength=classes)
    joint = raw / totals[given] * sizes[given]
    joint = joint / max(_sum_in_order(true * classes + given, joint, classes**2), 1e-100)
    whole = _rounded(given, true, joint * sizes.sum(), sizes)
    kept = whole > 0
    return Joint(given=given[kept], true=true[kept], counts=whole[kept])


def _cells(group: int, counted: npt.NDArray[np.int32], classes: int) -> Ints:
    """Given label, true label and count of the cells of one class, (3, cells)."""
    counts = np.bincount(counted + 1, minlength=classes + 1)[1:]
    counts[group] = max(counts[group], 1)  # at least one right row
    true = np.flatnonzero(counts)
    return np.stack([np.full(len(true), group), true, counts[true]])


def _sum_in_order(places: Ints, values: Floats, length: int) -> float:
    """The sum that numpy gives for a vector of `length` zeros but for `values` at `places`.

    A long vector is halved, at multiples of eight, and the halves' sums are added; so the same is
    done here down to blocks that may be held.
    """
    if length > _SUMMED:
        half = length // 2 - length // 2 % 8
        left = places < half
        return _sum_in_order(places[left], values[left], half) + _sum_in_order(
            places[~left] - half, values[~left], length - half
        )
    if not len(places):
        return 0.0
    block = np.zeros(length)
    block[places] = values
    return float(block.sum())


def _rounded(given: Ints, true: Ints, joint: Floats, sizes: Ints) -> Ints:
    """Round every class to integers of the same sum, changing those nearest to the other side."""
    whole = joint.round()
    lacking = (sizes - np.bincount(given, whole, minlength=len(sizes)).round()).astype(np.int64)
    bounds = np.searchsorted(given, np.arange(len(sizes) + 1))
    for group in np.flatnonzero(lacking):
        here = slice(bounds[group], bounds[group + 1])
        step, changes = np.sign(lacking[group]), abs(lacking[group])
        over = (joint[here] - whole[here]) * step
        ranked = np.sort(over)[::-1]
        if changes < len(over) and ranked[changes - 1] == ranked[changes]:
            # A tie falls as numpy's default sort of the whole line, zeros and all, lets it fall.
            line = np.zeros(len(sizes))
            line[true[here]] = joint[here] - whole[here]
            chosen = np.isin(true[here], np.argsort(line)[::-step][:changes])
        else:
            chosen = over >= ranked[changes - 1]
        whole[here] += step * chosen
    return whole.astype(np.int64)


def _to_prune(joint: Joint, groups: _Sorted) -> Joint:
    """How many rows to flag per cell off the diagonal; one right row is left in each class."""
    right, classes = joint.given == joint.true, len(groups.sizes)
    diagonal = np.bincount(joint.given[right], joint.counts[right], minlength=classes)
    cells = np.bincount(joint.given, minlength=classes)
    less = (np.maximum(diagonal, 1) - diagonal) / np.maximum(cells - 1.0, 1.0)
    counts = np.maximum(joint.counts - less[joint.given], 0.0).astype(np.int64)
    kept = ~right & (counts > 0)
    return Joint(given=joint.given[kept], true=joint.true[kept], counts=counts[kept])


def _flag_clear(
    flagged: Bools,
    above: npt.NDArray[np.int32],
    given: int,
    true: Ints,
    counts: Ints,
    probabilities: Probabilities,
) -> Bools:
    """Mark the `counts` rows of largest margin for every `true`; say where `above` do not tell."""
    unclear = counts > len(above)
    own = at(probabilities, above, given)[:, None]
    step = max(1, _MARGINS // max(len(above), 1))
    for some in np.split(np.flatnonzero(~unclear), range(step, len(true), step)):
        margins = np.ascontiguousarray((block(probabilities, above, true[some]) - own).T)
        ranked, line = np.sort(margins, axis=1), np.arange(len(some))
        last = ranked[line, len(above) - counts[some]]
        after = ranked[line, np.maximum(len(above) - counts[some] - 1, 0)]
        clear = (last > 2 * _CLOSE) & ((after < last) | (counts[some] == len(above)))
        flagged[above[(margins[clear] >= last[clear, None]).any(axis=0)]] = True
        unclear[some[~clear]] = True
    return unclear


def _largest(values: Floats, count: int) -> Ints:
    """Where the `count` largest values are; ties as numpy's default sort lets them fall."""
    low = -values
    if count < len(low):
        part = np.partition(low, [count - 1, count])
        if part[count - 1] < part[count]:
            return np.flatnonzero(low <= part[count - 1])
    return np.argsort(low)[:count]
