"""Looks for known vulnerabilities and for secrets, and writes the environment's bill of materials: ``make audit``.

Usage: ``python -m environment_setup.security [FOLDER]``, which gets the bill of materials; ``build/security`` unless it
is given. Prints what is wrong, one line each, and exits with 1 where anything is. Where the source of vulnerabilities
does not answer, that is said; on a build agent (CI or TF_BUILD is set) it is wrong too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from environment_setup.security import secret_scan, vulnerabilities
from environment_setup.security.bill import write_bill
from environment_setup.security.tools import PROGRAMS, ROOT
from insurance_claims.errors import ClaimsError


def vulnerability_problems() -> Iterator[str]:
    """Known vulnerabilities that nobody accepted."""
    entries = vulnerabilities.accepted()
    try:
        report = vulnerabilities.audit(PROGRAMS / "pip-audit")
        found = vulnerabilities.vulnerabilities(report)
    except vulnerabilities.Unreachable as error:
        if os.environ.get("CI") or os.environ.get("TF_BUILD"):
            raise
        print(f"skipped: {error}")
        return
    print(f"{len(report['dependencies'])} packages: {len(found)} known vulnerabilities")
    yield from vulnerabilities.problems(found, entries, datetime.now(UTC).date())


def secret_problems() -> Iterator[str]:
    """What looks like a secret and is not on the list."""
    files = secret_scan.tracked()
    found = secret_scan.scan(PROGRAMS / "detect-secrets", files)
    print(f"{len(files)} files: {len(found)} texts look like secrets")
    yield from secret_scan.problems(found, secret_scan.harmless())


def main(arguments: list[str]) -> int:
    """Look at everything, whatever is wrong with the rest."""
    if len(arguments) > 1:
        print("usage: python -m environment_setup.security [FOLDER]", file=sys.stderr)
        return 2
    folder = Path(arguments[0]) if arguments else ROOT / "build" / "security"
    wrong: list[str] = []
    for look in (vulnerability_problems, secret_problems):
        try:
            wrong += look()
        except ClaimsError as error:
            wrong.append(str(error))
    try:
        print(f"the bill of materials is {write_bill(PROGRAMS / 'cyclonedx-py', folder)}")
    except ClaimsError as error:
        wrong.append(str(error))
    for problem in wrong:
        print(f"error: {problem}", file=sys.stderr)
    print("nothing is wrong" if not wrong else f"{len(wrong)} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
