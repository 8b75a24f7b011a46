"""A small real model: will a flight arrive late, from what is known before it leaves?

Logistic regression on standardised numbers and one-hot carriers, written as JSON coefficients,
which can be read without running anybody's code. It is given :class:`~guards.gate.Admitted` and
reads nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from guards.integrations.dagster import Admitted

NUMBERS = ("hour", "distance", "dep_delay")
LATE = "late"


def fit(admitted: Admitted) -> dict[str, Any]:
    """Fit on four fifths of the rows, measure on the rest; returns the model as JSON."""
    rows = admitted.table()
    matrix, columns = _features(rows)
    late = (rows["label"] == LATE).to_numpy()
    known, held, truth, answer = train_test_split(matrix, late, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(known)
    model = LogisticRegression(max_iter=500).fit(scaler.transform(known), truth)
    scores = model.decision_function(scaler.transform(held))
    auroc = round(float(roc_auc_score(answer, scores)), 4)
    written = {"kind": "logistic-regression", "columns": columns, **_coefficients(scaler, model)}
    return {**written, "metrics": {"rows": rows.height, "auroc": auroc}}


def _coefficients(scaler: StandardScaler, model: LogisticRegression) -> dict[str, Any]:
    return {
        "mean": scaler.mean_.tolist(),
        "scale": scaler.scale_.tolist(),
        "coefficients": model.coef_[0].tolist(),
        "intercept": float(model.intercept_[0]),
    }


def _features(rows: pl.DataFrame) -> tuple[np.ndarray, list[str]]:
    """The rows as an array (rows, columns), and the names of its columns."""
    numbers = rows.select(pl.col(NUMBERS).cast(pl.Float64).fill_null(0.0))
    frame = pl.concat([numbers, rows.select("carrier").to_dummies()], how="horizontal")
    return frame.to_numpy(), frame.columns
