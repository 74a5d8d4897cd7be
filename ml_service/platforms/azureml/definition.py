"""What a pipeline file becomes on Azure Machine Learning, before anything of it is made there."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import insurance_claims
from insurance_claims.files import whole_folder
from ml_service.pipeline import DataInput, Pipeline, PipelineError, Step, fill
from ml_service.platforms.base import PlatformError

PACKAGE = Path(insurance_claims.__file__).parent
"""What steps are run from."""

PLACEHOLDER = re.compile(r"\{(inputs|outputs|parameters)\.([A-Za-z_][A-Za-z0-9_]*)\}")
_FIRST_LINE = "Published by mlops. The next line is read by it."
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "*.pyc")


@dataclass(frozen=True, slots=True)
class Definition:
    """What is known of a pipeline besides its graph; a published one carries it in its description.

    Attributes:
        content: hash of all that it is made of.
        steps: names of its steps, in order.
        parameters: default of each parameter.
        words: parameters that commands use: those are parameters on Azure too.
        data: each dataset parameter, and name and version that it stands for, with placeholders.
        file: the one file of a data version that steps get; empty for all of them.
    """

    content: str
    steps: tuple[str, ...]
    parameters: Mapping[str, str]
    words: tuple[str, ...]
    data: Mapping[str, tuple[str, str]]
    file: str = ""

    def describe(self) -> str:
        """The description of a published pipeline."""
        return f"{_FIRST_LINE}\n{json.dumps(asdict(self), sort_keys=True)}"

    def resolve(self, name: str, given: Mapping[str, str]) -> dict[str, str]:
        """Defaults overridden by what was given.

        Raises:
            PipelineError: a given name is no parameter of the pipeline called ``name``.
        """
        if unknown := sorted(set(given) - set(self.parameters)):
            raise PipelineError(
                f"pipeline {name} has no parameter {', '.join(unknown)}; "
                f"it has: {', '.join(self.parameters) or 'none'}"
            )
        return {**self.parameters, **given}

    def data_versions(self, parameters: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        """Name and version of what each dataset parameter stands for."""
        return {
            key: (fill(name, parameters), fill(version, parameters))
            for key, (name, version) in self.data.items()
        }


def define(pipeline: Pipeline, facts: Mapping[str, str]) -> Definition:
    """Check that a pipeline can run on Azure Machine Learning.

    Args:
        pipeline: from its file.
        facts: what else it is made of: source, environment, compute.

    Raises:
        PlatformError: a placeholder is only a part of a word.
    """
    words: dict[str, None] = {}
    data: dict[str, tuple[str, str]] = {}
    for step in pipeline.steps:
        words.update(dict.fromkeys(_parameters(pipeline, step)))
        for name, source in step.inputs.items():
            if isinstance(source, DataInput):
                data[data_parameter(step, name)] = (source.name, source.version)
    steps = [
        {"name": step.name, "run": step.run, "reuse": step.reuse, "outputs": step.outputs}
        | {"inputs": {name: asdict(source) for name, source in step.inputs.items()}}
        for step in pipeline.steps
    ]
    content = json.dumps([pipeline.name, dict(pipeline.parameters), steps, facts], sort_keys=True)
    return Definition(
        content=hashlib.sha256(content.encode()).hexdigest(),
        steps=tuple(step.name for step in pipeline.steps),
        parameters=dict(pipeline.parameters),
        words=tuple(words),
        data=data,
    )


def read_definition(description: str | None) -> Definition | None:
    """The definition that a published pipeline carries; None where it is none of ours."""
    first, _, rest = (description or "").partition("\n")
    if first != _FIRST_LINE:
        return None
    try:
        content = json.loads(rest)
        return Definition(
            content=str(content["content"]),
            steps=tuple(content["steps"]),
            parameters=content["parameters"],
            words=tuple(content["words"]),
            data={key: (name, version) for key, (name, version) in content["data"].items()},
            file=str(content["file"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def data_parameter(step: Step, name: str) -> str:
    """What the dataset parameter behind an input of a step is called."""
    return f"{step.name}_{name}"


def source_hash(package: Path) -> str:
    """SHA-256 of the names and contents of a package's files."""
    digest = hashlib.sha256()
    for file in _files(package):
        content = hashlib.sha256((package / file).read_bytes()).hexdigest()
        digest.update(f"{file.as_posix()}\0{content}\0".encode())
    return digest.hexdigest()


def staged(package: Path, sha256: str, cache: Path) -> Path:
    """A folder that holds a package and nothing else, for steps to be run from.

    Args:
        package: its folder.
        sha256: its ``source_hash``.
        cache: where such folders are kept.
    """
    folder = cache / sha256
    if not folder.is_dir():
        with whole_folder(folder) as aside:
            shutil.copytree(package, aside / package.name, ignore=_LEFT_OUT)
    return folder


def _files(package: Path) -> list[Path]:
    found = [file.relative_to(package) for file in package.rglob("*") if file.is_file()]
    return sorted(
        file
        for file in found
        if file.suffix != ".pyc"
        and not any(part == "__pycache__" or part.startswith(".") for part in file.parts)
    )


def _parameters(pipeline: Pipeline, step: Step) -> list[str]:
    """The parameters that a step's command uses."""
    found = []
    for word in step.run:
        match = PLACEHOLDER.fullmatch(word)
        if match is None and PLACEHOLDER.search(word):
            raise PlatformError(
                f"{pipeline.file}: step {step.name}: {word!r} cannot be filled in on Azure Machine Learning, where a "
                "placeholder is a whole word: write `--name {parameters.name}`, not `--name={parameters.name}`"
            )
        if match is not None and match[1] == "parameters":
            found.append(match[2])
    return found
