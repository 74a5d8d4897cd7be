"""``mlops``, or ``python -m ml_service``."""

from ml_service.cli import app
from ml_service.cli.context import run_alone


def main() -> None:
    """Run one command in a process of its own."""
    run_alone()
    app.main()


if __name__ == "__main__":
    main()
