"""Checks images, Kubernetes manifests and ARM templates: ``python -m environment_setup.check``.

Prints what is wrong, one line each, and exits with 1 where anything is. MLOPS_ARM_SCHEMAS names a folder with Azure's
schemas, laid out like https://schema.management.azure.com; without them that one check is skipped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from environment_setup.check import dockerfile, kubernetes
from environment_setup.check.arm import arm_problems
from environment_setup.check.kustomize import render
from environment_setup.check.schemas import Schemas
from insurance_claims.errors import ClaimsError

SETUP = Path(__file__).resolve().parents[1]
ROOT = SETUP.parent
SCHEMAS = "MLOPS_ARM_SCHEMAS"
MODEL_IMAGE = "model.Dockerfile"
"""The one image whose context is not the repository, but a model's folder."""


def schema_folder() -> Path | None:
    """Where Azure's schemas are; None where they are not at hand."""
    folder = Path(os.environ.get(SCHEMAS) or ROOT.parent / "shared" / "arm-schemas")
    return folder if folder.is_dir() else None


def image_problems() -> Iterator[str]:
    """What is wrong with the images."""
    for file in sorted((SETUP / "images").glob("*.Dockerfile")):
        yield from dockerfile.problems(file, None if file.name == MODEL_IMAGE else ROOT)


def overlay_problems() -> Iterator[str]:
    """What is wrong with the Kubernetes manifests."""
    for folder in sorted((SETUP / "kubernetes" / "overlays").iterdir()):
        for problem in kubernetes.problems(render(folder)):
            yield f"{folder.name}: {problem}"


def main() -> int:
    """Check everything."""
    try:
        folder = schema_folder()
        schemas = None if folder is None else Schemas(folder)
        wrong = [
            *image_problems(),
            *overlay_problems(),
            *arm_problems(SETUP / "arm", schemas),
        ]
    except ClaimsError as error:
        wrong = [str(error)]
    if folder is None:
        print(f"Azure's schemas are not checked: set {SCHEMAS} to a folder that has them")
    for problem in wrong:
        print(problem)
    print("nothing is wrong" if not wrong else f"{len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
