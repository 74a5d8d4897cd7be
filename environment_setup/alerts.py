"""Make Azure Monitor's rules, the workbook, and the table of alerts in the docs of ``alerts.yml``.

Usage: ``python -m environment_setup.alerts``. A test keeps what is committed equal to what this writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from insurance_claims.files import write_whole
from ml_service.monitoring.alerts.azure import alerts_template, workbook_template
from ml_service.monitoring.alerts.definitions import Alert, load_alerts

ROOT = Path(__file__).resolve().parents[1]
ALERTS = ROOT / "environment_setup" / "arm" / "modules" / "alerts.json"
WORKBOOK = ROOT / "environment_setup" / "arm" / "modules" / "workbook.json"
DOCUMENT = ROOT / "docs" / "alerts.md"
BEGIN, END = "<!-- begin: made of alerts.yml -->", "<!-- end -->"
_SEVERITIES = ("critical", "error", "warning", "information", "details")


def files(alerts: Sequence[Alert], document: str) -> dict[Path, str]:
    """What is made, by path.

    Args:
        alerts: what is watched.
        document: docs/alerts.md as it is; the table between two marks is replaced.
    """
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return {
        ALERTS: json.dumps(alerts_template(alerts), indent=2) + "\n",
        WORKBOOK: json.dumps(workbook_template(), indent=2) + "\n",
        DOCUMENT: f"{head}{BEGIN}\n{table(alerts)}\n{END}{tail}",
    }


def table(alerts: Sequence[Alert]) -> str:
    """The table of alerts, in Markdown."""
    rows = [
        f"| **{alert.name}** ({_SEVERITIES[alert.severity]}) | {alert.rule()} | {alert.meaning} "
        f"| {' '.join(alert.action.split())} |"
        for alert in alerts
    ]
    return "\n".join(["| alert | fires | what it means | what to do |", "|---|---|---|---|", *rows])


def main() -> None:
    """Write all of it."""
    for path, text in files(load_alerts(), DOCUMENT.read_text(encoding="utf-8")).items():
        write_whole(path, text)
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
