"""``make bench``: every benchmark in turn, each in a process of its own, with the machine it ran on.

The tables are Markdown: docs/benchmarks.md holds them as they came out.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil

BENCHMARKS = (
    "synthesize",
    "pipeline_vs_script",
    "serving",
    "telemetry",
    "dashboard",
    "events",
    "predictors",
    "batch",
    "ingestion",
    "router",
    "model_quality",
    "gate_simulation",
    "azure_publish",
)


def machine() -> str:
    """The machine in one line."""
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.machine()}, {_processor()}"
    return f"{system}, {cores} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def main() -> None:
    """Run every benchmark and print its tables; exit 1 where one fails."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and repeats")
    parser.add_argument("--only", choices=BENCHMARKS, help="one of them")
    arguments = parser.parse_args()
    print(f"{datetime.date.today().isoformat()}, {machine()}", flush=True)
    failed = []
    for name in [arguments.only] if arguments.only else BENCHMARKS:
        print(f"\n## {name}\n", flush=True)
        command = [
            sys.executable,
            "-m",
            f"benchmarks.{name}",
            *(["--quick"] if arguments.quick else []),
        ]
        if subprocess.run(command, check=False).returncode != 0:
            failed.append(name)
    if failed:
        sys.exit(f"error: these benchmarks failed, their reasons are above: {', '.join(failed)}")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"


if __name__ == "__main__":
    main()
