"""Turn into the program that a JSON file describes: ``python launch.py FILE``.

supervisord's own way to write commands and variables has no quoting that takes every path and value.
"""

import json
import os
import sys


def main() -> None:
    """Replace this process by the program: ``{"argv": [...], "env": {...}}``; env is added to the present one."""
    with open(sys.argv[1], encoding="utf-8") as file:
        program = json.load(file)
    os.execvpe(program["argv"][0], program["argv"], {**os.environ, **program["env"]})


if __name__ == "__main__":
    main()
