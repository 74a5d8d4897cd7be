"""Makes the one template that Azure is given of ``environment_setup/arm/main.json`` and its modules.

Usage: ``python -m environment_setup.bundle FILE``. Azure itself reads modules from addresses alone. Put in as they are
here, what was checked is what is deployed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from environment_setup.check.expressions import TemplateError
from insurance_claims.errors import ClaimsError
from insurance_claims.files import write_json

ARM = Path(__file__).resolve().parent / "arm"
MAIN = "main.json"
DEPLOYMENT = "Microsoft.Resources/deployments"


def load(file: Path) -> dict[str, Any]:
    """A template or a parameter file.

    Raises:
        TemplateError: it is not there, or is no JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TemplateError(f"{file} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise TemplateError(f"{file} has to hold a JSON object")
    return content


def bundle(file: Path = ARM / MAIN) -> dict[str, Any]:
    """A template with its modules in it.

    Raises:
        TemplateError: a file is missing or broken.
    """
    template = load(file)
    for resource in template["resources"]:
        if resource["type"] == DEPLOYMENT:
            properties = resource["properties"]
            module = file.parent / properties.pop("templateLink")["relativePath"]
            properties["expressionEvaluationOptions"] = {"scope": "inner"}
            properties["template"] = bundle(module)
    return template


def main(arguments: list[str]) -> int:
    """Write the template to the file that is named."""
    if len(arguments) != 1:
        print("usage: python -m environment_setup.bundle FILE", file=sys.stderr)
        return 2
    try:
        write_json(Path(arguments[0]), bundle())
    except (ClaimsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
