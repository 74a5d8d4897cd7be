"""The drift report: one HTML file that needs nothing else, for light and dark screens."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insurance_claims.drift.features import FeatureDrift
from insurance_claims.files import write_whole
from insurance_claims.schema import PROBLEM
from ml_service.feedback.windows import Outcome, WindowReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TEMPLATE = Path(__file__).with_name("report.html")
_MOST_PLOTS = 12
_INK = "#7f7f7f"
"""Grey that can be read on white and on black."""
_BEFORE, _NOW = "#7f9fbf", "#e07a3f"


def write_report(
    path: Path, reports: Sequence[WindowReport], outcomes: Sequence[Outcome], made: datetime
) -> None:
    """Write the report of some windows.

    Args:
        path: of the file.
        reports: a window of each model version that had traffic.
        outcomes: performance over time.
        made: this moment.
    """
    from jinja2 import Environment

    # With autoescape: names of features and versions are the only text that comes from outside, and they too.
    template = Environment(autoescape=True).from_string(_TEMPLATE.read_text(encoding="utf-8"))
    windows = [
        {"report": report, "plots": [_svg(_bars(item)) for item in _shown(report)]}
        for report in reports
    ]
    over_time = _svg(_over_time(outcomes)) if any(o.performance.gini for o in outcomes) else None
    write_whole(
        path,
        template.render(
            windows=windows,
            outcomes=outcomes,
            over_time=over_time,
            made=made,
            level=PROBLEM.facts.shown,
        ),
    )


def _shown(report: WindowReport) -> list[FeatureDrift]:
    """The features to draw: those that drifted, and the score, the largest differences first."""
    chosen = [item for item in report.features if item.drifted or item.feature == "score"]
    return sorted(chosen, key=lambda item: -item.psi.value)[:_MOST_PLOTS]


def _bars(item: FeatureDrift) -> Figure:
    figure, axes = _axes()
    places = range(len(item.bins))
    axes.bar([p - 0.2 for p in places], item.reference_shares, 0.4, color=_BEFORE, label="training")
    axes.bar([p + 0.2 for p in places], item.window_shares, 0.4, color=_NOW, label="window")
    axes.set_title(item.feature, color=_INK, fontsize=10)
    axes.set_ylabel("share of rows")
    if len(item.bins) <= 20:
        axes.set_xticks(list(places), item.bins, rotation=45, ha="right", fontsize=7)
    axes.legend(fontsize=8, labelcolor=_INK, frameon=False)
    return figure


def _over_time(outcomes: Sequence[Outcome]) -> Figure:
    figure, axes = _axes()
    for version in sorted({item.version for item in outcomes}):
        own = [o for o in outcomes if o.version == version and o.performance.gini]
        ginis = [o.performance.gini for o in own if o.performance.gini]
        values = [gini.value for gini in ginis]
        reach = [[g.value - g.low for g in ginis], [g.high - g.value for g in ginis]]
        times: Any = [o.since + (o.until - o.since) / 2 for o in own]
        axes.errorbar(times, values, reach, marker="o", capsize=3, label=f"version {version}")
    axes.set_ylabel("Gini, 95% interval")
    axes.tick_params(axis="x", rotation=30)
    axes.legend(fontsize=8, labelcolor=_INK, frameon=False)
    return figure


def _axes() -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.8), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.tick_params(colors=_INK, labelsize=8)
    axes.yaxis.label.set_color(_INK)
    for spine in axes.spines.values():
        spine.set_color(_INK)
    return figure, axes


def _svg(figure: Figure) -> Any:
    import matplotlib
    from markupsafe import Markup

    out = io.StringIO()
    # Text as text: smaller, and it can be searched for.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "drift"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return Markup(text[text.index("<svg") :])
