"""CycloneDX's own schema, which comes with its tools."""

from __future__ import annotations

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import referencing
from referencing.jsonschema import DRAFT7

from environment_setup.security.tools import PROGRAMS

_SCHEMAS = "lib/python*/site-packages/cyclonedx/schema/_res"


def schema_problems(content: Any) -> list[str]:
    """What the schema of version 1.6 finds wrong; the test is skipped where the tools are not installed."""
    folder = next(PROGRAMS.parent.glob(_SCHEMAS), None)
    if folder is None:
        pytest.skip("CycloneDX's schema is not installed: `make .venv/.security` installs it")
    registry: Any = referencing.Registry()
    for name in ("spdx", "jsf-0.82", "bom-1.6"):
        file = folder / f"{name}.SNAPSHOT.schema.json"
        schema = json.loads(file.read_text())
        resource = referencing.Resource.from_contents(schema, default_specification=DRAFT7)
        # They refer to each other by the names of their files.
        registry = registry.with_resource(f"http://cyclonedx.org/schema/{file.name}", resource)
    checker = jsonschema.Draft7Validator(
        schema, registry=registry, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    )
    return [error.message for error in checker.iter_errors(content)]
