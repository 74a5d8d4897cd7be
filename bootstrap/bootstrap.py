"""Make a new project of this template: ``python bootstrap/bootstrap.py --name NAME --directory DIR``.

``python bootstrap/bootstrap.py --upgrade DIR`` brings later changes of the template into a project that it made.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Run the command line."""
    # Before the script's own folder, where this file would hide the package of the same name.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    # A template is read only: no bytecode is left in it.
    sys.dont_write_bytecode = True
    from bootstrap.cli import main as run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
