"""Commands of a demonstration: shown before they run, so that each can be typed again."""

from __future__ import annotations

import subprocess
import sys

from insurance_claims.errors import ClaimsError


def run_shown(*arguments: str, code: int = 0) -> None:
    """Print a command of ``mlops`` and run it.

    Args:
        arguments: of it.
        code: exit code that is expected.

    Raises:
        ClaimsError: it ended with another one.
    """
    print(f"\n$ mlops {' '.join(arguments)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "ml_service", *arguments], check=False)
    if done.returncode != code:
        expected = "" if code == 0 else f", {code} was expected"
        raise ClaimsError(
            f"`mlops {' '.join(arguments)}` ended with {done.returncode}{expected}: its reason is above"
        )
