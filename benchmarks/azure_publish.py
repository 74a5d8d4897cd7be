"""Publishing a pipeline on Azure Machine Learning: `mlops publish` against the SDK's own calls for the same, made once.

``python -m benchmarks.azure_publish`` starts the emulator, so that the network and Azure's own time play no part: what
is left is what the client does. Both ways alternate, each under versions of its own. The floor builds and publishes the
same pipeline with a workspace, environment and compute that it was handed; ours looks all of them up, checks that the
version is free, publishes, and lets the pipeline endpoint lead to it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from insurance_claims.data.synthesize import write_synthetic
from ml_service.pipeline import Pipeline, find_pipeline, load_pipeline
from ml_service.settings import azure_settings, settings
from tests.azureml_emulator.process import EmulatorProcess

TARGET = 1.3


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.azure_publish",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    repeats = 3 if parser.parse_args().quick else 15
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        emulator = EmulatorProcess(folder / "emulator")
        emulator.start()
        try:
            os.environ.update(emulator.environment)
            os.environ.update(MLOPS_HOME=str(folder / "state"), HOME=name, HBI_WORKSPACE_JOB="true")
            _measure(folder, repeats)
        finally:
            emulator.stop()


def _measure(folder: Path, repeats: int) -> None:
    from ml_service.platforms.azureml.platform import AzureMLPlatform

    write_synthetic(folder / "claims.csv", 1000, seed=1)
    platform = AzureMLPlatform(settings(), azure_settings())
    platform.data.add("insurance_claims", folder / "claims.csv", _quiet)
    pipeline = load_pipeline(find_pipeline("training"))
    # The first uploads the sources and makes the compute: neither way does it again.
    platform.pipelines.publish(pipeline, "first", _quiet)
    sdk = _sdk(platform, pipeline)
    ours: list[float] = []
    floor: list[float] = []
    for repeat in range(repeats):
        floor.append(_seconds(lambda: sdk(f"sdk-{repeat}")))
        # As a command does it: nothing is known yet.
        fresh = AzureMLPlatform(settings(), azure_settings())
        _ = fresh.workspace.workspace
        ours.append(_seconds(lambda: fresh.pipelines.publish(pipeline, f"ours-{repeat}", _quiet)))
    ratios = [one / other for one, other in zip(ours, floor, strict=True)]
    print("| what | mlops publish, median s | SDK's calls, median s | ratio | target |")
    print("|---|---|---|---|---|")
    print(
        f"| publish training.yml, {repeats} pairs | {statistics.median(ours):.2f} "
        f"| {statistics.median(floor):.2f} | {statistics.median(ratios):.2f} | at most {TARGET} |"
    )


def _sdk(platform: Any, pipeline: Pipeline) -> Callable[[str], None]:
    """Builds and publishes the pipeline with the SDK alone, and lets its endpoint lead to it."""
    from azureml.pipeline.core import PipelineEndpoint

    from ml_service.platforms.azureml.silence import silent

    workspace = platform.workspace.workspace
    built = platform.pipelines

    def publish(version: str) -> None:
        definition = built._define(pipeline, _quiet)
        made = built._build(pipeline, definition, dict(pipeline.parameters), _quiet)
        with silent():
            published = made.publish(pipeline.name, definition.describe(), version)
        PipelineEndpoint.get(workspace, name=pipeline.name).add_default(published)

    return publish


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _quiet(line: str) -> None:
    """Progress that nobody reads."""


if __name__ == "__main__":
    main()
