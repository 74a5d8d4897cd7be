"""What an environment is assumed to be used for: its size is in the templates, its use is not."""

from __future__ import annotations

from dataclasses import dataclass

HOURS = 730
"""Of a month."""
_BYTES_A_ROW = 2000
"""Of all that is kept of a row: the file that landed, the curated one, the data version, the training set."""
_MONTHS_KEPT = 12
_GIGABYTES_OF_MODELS = 10
_GIGABYTES_OF_LOGS = 3.0
_GIGABYTES_OF_LOGS_A_NODE = 6.0


@dataclass(frozen=True, slots=True)
class Usage:
    """A month's use of one environment.

    Attributes:
        training_hours: that nodes of the training cluster run, in sum.
        serving_hours: that endpoints run: the staging service, and the nodes of AKS.
        rows: that arrive.
        log_gigabytes: that Log Analytics takes; None for an assumption by the number of AKS nodes.
    """

    training_hours: float = 40.0
    serving_hours: float = HOURS
    rows: int = 1_000_000
    log_gigabytes: float | None = None

    @property
    def gigabytes(self) -> float:
        """Of data, models and logs of runs, when a year's rows are there."""
        return _GIGABYTES_OF_MODELS + self.rows * _MONTHS_KEPT * _BYTES_A_ROW / 1e9

    def logs(self, nodes: int, limit: float) -> float:
        """Gigabytes that Log Analytics takes.

        Args:
            nodes: of AKS.
            limit: gigabytes a day above which logs are dropped; -1 for none.
        """
        taken = self.log_gigabytes
        if taken is None:
            taken = _GIGABYTES_OF_LOGS + nodes * _GIGABYTES_OF_LOGS_A_NODE
        return taken if limit < 0 else min(taken, limit * 30)

    def describe(self) -> list[str]:
        """The assumptions, one a line."""
        logs = (
            f"{_GIGABYTES_OF_LOGS:g} GB and {_GIGABYTES_OF_LOGS_A_NODE:g} GB a node of AKS"
            if self.log_gigabytes is None
            else f"{self.log_gigabytes:g} GB"
        )
        return [
            f"training: {self.training_hours:g} hours of a node, and no node between runs",
            f"endpoints: {self.serving_hours:g} of {HOURS} hours",
            f"data: {self.rows:,} rows a month, {_BYTES_A_ROW:,} bytes each in all their forms, kept for "
            f"{_MONTHS_KEPT} months, and {_GIGABYTES_OF_MODELS} GB of models: {self.gigabytes:,.0f} GB",
            f"logs: {logs}, never above the daily limit of the parameter file",
            "not in it: traffic out of Azure, build agents, support, taxes, discounts, free amounts but that of logs",
        ]
