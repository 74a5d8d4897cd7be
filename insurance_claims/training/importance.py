"""Which features a model leans on."""

from __future__ import annotations

from pathlib import Path

import lightgbm as lgb
import numpy as np

SHOWN = 25
"""Features on the plot; the JSON file has all of them."""


def importance(booster: lgb.Booster) -> dict[str, float]:
    """Share of the total gain that each feature's splits bring, largest first.

    Returns:
        Every feature; the shares sum to 1, or are all 0 where the model has no split.
    """
    gain = np.asarray(booster.feature_importance("gain"), dtype=np.float64)
    share = gain / gain.sum() if gain.sum() > 0 else gain
    order = np.argsort(-share, kind="stable")
    names = booster.feature_name()
    return {names[position]: float(share[position]) for position in order}


def draw_importance(shares: dict[str, float], path: Path) -> None:
    """Draw the largest shares as bars into a PNG file."""
    # Without pyplot: it would look for a display, and keep the figure alive.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(shares)[:SHOWN][::-1]
    figure = Figure(figsize=(7, 0.26 * len(names) + 1), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(names, [100 * shares[name] for name in names])
    axes.set_xlabel("share of the total gain, %")
    axes.set_title("Feature importance")
    FigureCanvasAgg(figure)
    figure.savefig(path)
