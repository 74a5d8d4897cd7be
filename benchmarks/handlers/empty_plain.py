"""A handler that does nothing, of the plain kind: text in, and the server writes what it returns as JSON."""


def init() -> None:
    """Nothing to load."""


def run(_: str) -> dict[str, list[float]]:
    """Answer without a look at the body."""
    return {}
