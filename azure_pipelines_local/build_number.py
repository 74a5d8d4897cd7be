"""The number of a run, from the format in a pipeline's ``name:``."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from azure_pipelines_local.functions import format_date
from azure_pipelines_local.variables import Variables

_DATE = re.compile(r"\$\(Date:([^)]+)\)", re.IGNORECASE)
_REVISION = re.compile(r"\$\(Rev:(\.?)(r+)\)", re.IGNORECASE)


def build_number(
    template: str, variables: Variables, start: datetime, count: Callable[[str], int]
) -> str:
    """Fill a format in.

    Args:
        template: such as ``$(Date:yyyyMMdd)$(Rev:.r)``.
        variables: predefined variables and those of the pipeline.
        count: gives the next revision for what the rest of the number is.
    """
    special = variables.copy()
    special.set("BuildID", variables.value("Build.BuildId") or "")
    special.set("SourceBranchName", variables.value("Build.SourceBranchName") or "")
    special.set("BuildDefinitionName", variables.value("Build.DefinitionName") or "")
    special.set("TeamProject", variables.value("System.TeamProject") or "")
    special.set("DayOfMonth", str(start.day))
    special.set("DayOfYear", str(start.timetuple().tm_yday))
    special.set("Month", str(start.month))
    special.set("Year:yy", f"{start.year % 100:02}")
    special.set("Year:yyyy", str(start.year))
    special.set("Hours", str(start.hour))
    special.set("Minutes", str(start.minute))
    special.set("Seconds", str(start.second))
    text = _DATE.sub(lambda match: format_date(start, match[1]), template)
    text = re.sub(
        r"\$\(Year:(yy(?:yy)?)\)", lambda match: special.value(f"Year:{match[1]}") or "", text
    )
    text = special.expand(text)
    if match := _REVISION.search(text):
        revision = count(_REVISION.sub("", text))
        text = _REVISION.sub(f"{match[1]}{revision:0{len(match[2])}}", text, count=1)
    return text
