"""The model card's plots, champion beside challenger where there is one.

Drawn without pyplot: it would look for a display, and keep the figures alive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from insurance_claims import schema
from insurance_claims.evaluate.metrics import (
    Floats,
    calibration_table,
    claims_of,
    gini,
    lift_by_decile,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Models = Mapping[str, Floats]
"""Scores by the name that the legend shows, each of shape (n,)."""
_Curve = Callable[[Floats, Floats], tuple[Floats, Floats]]

_COLOURS = ("tab:blue", "tab:orange")
_CURVE_POINTS = 500


def draw_plots(target: Floats, models: Models, folder: Path) -> tuple[str, ...]:
    """Draw ROC (of costs cumulative gains), calibration, lift and score distribution as PNG files into a folder.

    Args:
        target: shape (n,), with claims and, where it is 0 and 1, rows without.
        models: challenger first, then the champion where there is one.
        folder: where to write; it exists.

    Returns:
        The files' names.
    """
    from matplotlib.figure import Figure

    plots = {**(_OF_CLASSES if schema.PROBLEM.facts.binary else _OF_COSTS), **_PLOTS}
    for name, (title, draw) in plots.items():
        figure = Figure(figsize=(6, 4.5), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, target, models)
        axes.set_title(title)
        axes.legend(loc="best", fontsize="small")
        figure.savefig(folder / name)
    return tuple(plots)


def _roc(axes: Axes, target: Floats, models: Models) -> None:
    _draw_curves(axes, target, models, _roc_curve)
    axes.set_xlabel("share of rows without a claim above the threshold")
    axes.set_ylabel("share of rows with a claim above it")


def _draw_curves(axes: Axes, target: Floats, models: Models, curve: _Curve) -> None:
    for (name, score), colour in zip(models.items(), _COLOURS, strict=False):
        axes.plot(
            *curve(target, score), color=colour, label=f"{name}: Gini {gini(target, score):.4f}"
        )
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="chance")


def _roc_curve(target: Floats, score: Floats) -> tuple[Floats, Floats]:
    """False and true positive rates from (0, 0) to (1, 1), thinned to some hundred points."""
    order = np.argsort(-score, kind="stable")
    claims, ranked = target[order], score[order]
    last_of_tie = np.append(ranked[1:] != ranked[:-1], True)
    true = np.concatenate(([0.0], np.cumsum(claims)[last_of_tie] / claims.sum()))
    false = np.concatenate(([0.0], np.cumsum(1 - claims)[last_of_tie] / (1 - claims).sum()))
    kept = np.unique(np.linspace(0, true.size - 1, _CURVE_POINTS).astype(np.int64))
    return false[kept], true[kept]


def _gains(axes: Axes, target: Floats, models: Models) -> None:
    _draw_curves(axes, target, models, _gains_curve)
    axes.set_xlabel("share of rows, highest scores first")
    axes.set_ylabel("share of the costs")


def _gains_curve(target: Floats, score: Floats) -> tuple[Floats, Floats]:
    """Shares of rows and of costs from (0, 0) to (1, 1), thinned to some hundred points."""
    order = np.argsort(-score, kind="stable")
    costs = np.concatenate(([0.0], np.cumsum(target[order]) / target.sum()))
    kept = np.unique(np.linspace(0, target.size, _CURVE_POINTS).astype(np.int64))
    return kept / target.size, costs[kept]


def _calibration(axes: Axes, target: Floats, models: Models) -> None:
    top = 0.0
    for (name, score), colour in zip(models.items(), _COLOURS, strict=False):
        table = calibration_table(target, score)
        error = 1.96 * np.sqrt(table.sampling_variance)
        axes.errorbar(
            table.predicted, table.observed, error, color=colour, marker="o", capsize=2, label=name
        )
        top = max(top, float(table.predicted.max()), float(table.observed.max()))
    axes.plot([0, top], [0, top], color="grey", linestyle=":", label="right")
    level = schema.PROBLEM.facts.level
    axes.set_xlabel(f"predicted {level}, tenths of the rows")
    axes.set_ylabel(f"observed {level}, 95% interval")


def _lift(axes: Axes, target: Floats, models: Models) -> None:
    width = 0.8 / len(models)
    for index, ((name, score), colour) in enumerate(zip(models.items(), _COLOURS, strict=False)):
        lift = lift_by_decile(target, score)
        places = np.arange(1, lift.size + 1) + (index - (len(models) - 1) / 2) * width
        axes.bar(places, lift, width, color=colour, label=name)
    axes.axhline(1, color="grey", linestyle=":", label="all rows")
    axes.set_xlabel("tenth of the rows, highest scores first")
    axes.set_ylabel(f"{schema.PROBLEM.facts.level} over that of all rows")


def _scores(axes: Axes, target: Floats, models: Models) -> None:
    low = min(float(np.quantile(score, 0.001)) for score in models.values())
    high = max(float(np.quantile(score, 0.999)) for score in models.values())
    # Few claims in many bins would show a comb.
    bins = int(np.clip(2 * np.sqrt(claims_of(target)), 10, 60))
    edges = np.linspace(low, max(high, low + 1e-6), bins + 1)
    for (name, score), colour in zip(models.items(), _COLOURS, strict=False):
        for claim, style in ((False, "--"), (True, "-")):
            if not ((target > 0) == claim).any():
                continue
            label = f"{name}, {'with' if claim else 'without'} a claim"
            heights, _ = np.histogram(score[(target > 0) == claim], edges, density=True)
            axes.stairs(heights, edges, color=colour, linestyle=style, label=label)
    axes.set_xlabel("score")
    axes.set_ylabel("density")


Plots = dict[str, tuple[str, Callable[["Axes", Floats, Models], None]]]

_OF_CLASSES: Plots = {"roc.png": ("ROC", _roc)}
_OF_COSTS: Plots = {"gains.png": ("Cumulative gains", _gains)}
_PLOTS: Plots = {
    "calibration.png": ("Calibration", _calibration),
    "lift.png": ("Lift by decile", _lift),
    "scores.png": ("Score distribution", _scores),
}
