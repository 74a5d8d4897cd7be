"""``mlops``, or ``python -m ml_service``."""

from ml_service.cli.app import main

if __name__ == "__main__":
    main()
