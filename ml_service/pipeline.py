"""A pipeline file as typed objects. What does not fit is refused, with file and line.

A file names its parameters with defaults, and steps in the order in which they run::

    name: insurance_claims-training
    parameters: {data: insurance_claims, data_version: latest}
    steps:
      - name: prepare
        run: python -m insurance_claims.data.prepare --raw {inputs.raw} --output {outputs.dataset}
        inputs: {raw: "data:{parameters.data}:{parameters.data_version}"}
        outputs: [dataset]
        reuse: true

An input is either a version of a data set (``data:NAME:VERSION``) or an output of an earlier step (``STEP.OUTPUT``).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import insurance_claims
from insurance_claims.errors import ClaimsError
from insurance_claims.typed_yaml import PlainLoader, read_yaml_text

PIPELINES = Path(insurance_claims.__file__).parent / "pipelines"

_PLACEHOLDER = re.compile(r"\{(inputs|outputs|parameters)\.([A-Za-z_][A-Za-z0-9_]*)\}")
_BRACE = re.compile(r"[{}]")
_DATA = re.compile(r"data:([^:]+):([^:]+)")


class PipelineError(ClaimsError):
    """A pipeline file does not fit."""


@dataclass(frozen=True, slots=True)
class DataInput:
    """A version of a data set. Both may hold ``{parameters.x}`` until the parameters are known."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class StepInput:
    """An output of an earlier step."""

    step: str
    output: str


@dataclass(frozen=True, slots=True)
class Step:
    """One command of a pipeline.

    Attributes:
        name: unique in the pipeline.
        run: the command, split into words, with placeholders.
        inputs: what the command reads, by name.
        outputs: names of the folders that it writes.
        reuse: whether an earlier result of the same command, source and inputs may stand in for it.
        exclusive: whether two runs must not be in this step at the same time.
    """

    name: str
    run: tuple[str, ...]
    inputs: Mapping[str, DataInput | StepInput]
    outputs: tuple[str, ...]
    reuse: bool
    exclusive: bool

    def command(
        self,
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
        parameters: Mapping[str, str],
    ) -> list[str]:
        """The words of the command with every placeholder filled in. A value never becomes more than one word."""
        values = {"inputs": inputs, "outputs": outputs, "parameters": parameters}
        return [
            _PLACEHOLDER.sub(lambda match: values[match[1]][match[2]], word) for word in self.run
        ]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Steps in order, and the parameters that they take."""

    name: str
    parameters: Mapping[str, str]
    steps: tuple[Step, ...]
    file: Path

    def resolve(self, given: Mapping[str, str]) -> dict[str, str]:
        """Defaults overridden by what was given.

        Raises:
            PipelineError: a given name is no parameter of this pipeline.
        """
        unknown = sorted(set(given) - set(self.parameters))
        if unknown:
            raise PipelineError(
                f"pipeline {self.name} has no parameter {', '.join(unknown)}; "
                f"it has: {', '.join(self.parameters) or 'none'}"
            )
        return {**self.parameters, **given}


def fill(text: str, parameters: Mapping[str, str]) -> str:
    """Fill ``{parameters.x}`` in."""
    return _PLACEHOLDER.sub(lambda match: parameters[match[2]], text)


def find_pipeline(name: str) -> Path:
    """The file of a pipeline that is given by path or by the name of a file in insurance_claims/pipelines.

    Raises:
        PipelineError: there is none; says which there are.
    """
    for path in (Path(name), PIPELINES / f"{name}.yml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in PIPELINES.glob("*.yml")))
    raise PipelineError(f"there is no pipeline {name!r}: give a file, or one of: {known}")


_Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class _StepFile(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    name: _Name
    run: str = Field(min_length=1)
    inputs: dict[_Name, str] = Field(default_factory=dict)
    outputs: list[_Name] = Field(default_factory=list)
    reuse: bool = False
    exclusive: bool = False


class _PipelineFile(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    parameters: dict[_Name, str | int | float] = Field(default_factory=dict)
    steps: list[_StepFile] = Field(min_length=1)


def load_pipeline(path: Path) -> Pipeline:
    """Read and check a pipeline file.

    Raises:
        PipelineError: it cannot be read, is not YAML, or does not fit; one line a problem, with file and line.
    """
    try:
        text = read_yaml_text(path)
        root = yaml.compose(text, Loader=PlainLoader)
        content = yaml.load(text, Loader=PlainLoader)
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PipelineError(f"{path} is not UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise PipelineError(f"{where}: not YAML: {getattr(error, 'problem', error)}") from None
    except ValueError as error:
        raise PipelineError(f"{path}: not YAML: {error}") from None
    lines = dict(_lines(root, ()))
    try:
        parsed = _PipelineFile.model_validate(content)
    except ValidationError as error:
        problems = [
            f"{path}:{_line(lines, problem['loc'])}: {_at(problem['loc'])}{problem['msg']}"
            for problem in error.errors()
        ]
        raise PipelineError("\n".join(problems)) from None
    return _Checker(path, lines, parsed).pipeline()


class _Checker:
    """Collects every problem of a file, so that a person sees them all at once."""

    def __init__(
        self, path: Path, lines: Mapping[tuple[Any, ...], int], file: _PipelineFile
    ) -> None:
        self._path = path
        self._lines = lines
        self._file = file
        self._problems: list[str] = []

    def pipeline(self) -> Pipeline:
        outputs: dict[str, list[str]] = {}
        steps: list[Step] = []
        for index, step in enumerate(self._file.steps):
            where = ("steps", index)
            if step.name in outputs:
                self._problem((*where, "name"), f"a second step is called {step.name}")
            inputs = {
                name: self._input((*where, "inputs", name), source, outputs)
                for name, source in step.inputs.items()
            }
            run = self._run((*where, "run"), step)
            outputs[step.name] = step.outputs
            known = {name: source for name, source in inputs.items() if source is not None}
            made = Step(step.name, run, known, tuple(step.outputs), step.reuse, step.exclusive)
            steps.append(made)
        if self._problems:
            raise PipelineError("\n".join(self._problems))
        parameters = {name: str(value) for name, value in self._file.parameters.items()}
        return Pipeline(self._file.name, parameters, tuple(steps), self._path)

    def _input(
        self, where: tuple[Any, ...], source: str, outputs: Mapping[str, list[str]]
    ) -> DataInput | StepInput | None:
        self._placeholders(where, source, {"parameters": set(self._file.parameters)})
        if match := _DATA.fullmatch(source):
            return DataInput(match[1], match[2])
        step, dot, output = source.partition(".")
        if not dot:
            self._problem(where, f"{source!r} is neither data:NAME:VERSION nor STEP.OUTPUT")
        elif step not in outputs:
            self._problem(where, f"no earlier step is called {step!r}")
        elif output not in outputs[step]:
            self._problem(where, f"step {step} has no output {output!r}")
        else:
            return StepInput(step, output)
        return None

    def _run(self, where: tuple[Any, ...], step: _StepFile) -> tuple[str, ...]:
        try:
            words = tuple(shlex.split(step.run))
        except ValueError as error:
            self._problem(where, f"not a command: {error}")
            return ()
        if words[:2] != ("python", "-m"):
            self._problem(where, "a command begins with `python -m MODULE`, on every platform")
        known = {
            "inputs": set(step.inputs),
            "outputs": set(step.outputs),
            "parameters": set(self._file.parameters),
        }
        used = self._placeholders(where, step.run, known)
        for kind in ("inputs", "outputs"):
            for name in sorted(known[kind] - used[kind]):
                self._problem(where, f"the command does not use {{{kind}.{name}}}")
        return words

    def _placeholders(
        self, where: tuple[Any, ...], text: str, known: Mapping[str, set[str]]
    ) -> dict[str, set[str]]:
        used: dict[str, set[str]] = {"inputs": set(), "outputs": set(), "parameters": set()}
        for match in _PLACEHOLDER.finditer(text):
            if match[2] not in known.get(match[1], set()):
                self._problem(where, f"{match[0]} is not known here")
            used[match[1]].add(match[2])
        if _BRACE.search(_PLACEHOLDER.sub("", text)):
            self._problem(where, "braces hold inputs.NAME, outputs.NAME or parameters.NAME")
        return used

    def _problem(self, where: tuple[Any, ...], message: str) -> None:
        self._problems.append(f"{self._path}:{_line(self._lines, where)}: {message}")


def _lines(node: yaml.Node | None, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], int]]:
    """The line of every value of a YAML document, by its path."""
    if node is None:
        return
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _lines(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, (*path, index))


def _line(lines: Mapping[tuple[Any, ...], int], where: tuple[Any, ...]) -> int:
    while where and where not in lines:
        where = where[:-1]
    return lines.get(where, 1)


def _at(where: tuple[Any, ...]) -> str:
    return ".".join(str(part) for part in where) + ": " if where else ""
