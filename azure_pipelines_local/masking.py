"""Secrets do not appear in what is printed or kept."""

from __future__ import annotations

import re
from typing import Any

_SHORTEST_LINE = 4


class Masker:
    """Replaces every secret that it knows by three stars."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str) -> None:
        """Hide this value from now on; and each of its lines, because output comes line by line."""
        lines = [line.strip() for line in secret.splitlines()]
        parts = [line for line in lines if len(line) >= _SHORTEST_LINE] if len(lines) > 1 else []
        self._secrets |= {part for part in (secret, secret.strip(), *parts) if part}
        longest_first = sorted(self._secrets, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def mask(self, text: str) -> str:
        """The text without secrets."""
        return self._pattern.sub("***", text) if self._secrets and self._pattern else text

    def mask_all(self, value: Any) -> Any:
        """A structure of dicts and lists whose texts hold no secrets."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, dict):
            return {self.mask(str(key)): self.mask_all(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.mask_all(item) for item in value]
        return value
