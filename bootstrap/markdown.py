"""Documents without what they say of files that are not there."""

from __future__ import annotations

import posixpath
import re

_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]+)[^)]*\)")
_CODE = re.compile(r"`([^`\n]+)`")
_ENTRY = re.compile(r"\s*(?:[|*-]|\d+\.)\s+")


class Without:
    """Some paths of a project are left out of it."""

    def __init__(self, dropped: tuple[str, ...]) -> None:
        self._dropped = dropped
        paths = "|".join(map(re.escape, dropped))
        self._mentioned = re.compile(rf"(?<![\w/.-])(?:{paths})(?![\w-])")

    def holds(self, path: str) -> bool:
        """Whether a path is left out."""
        path = path.rstrip("/")
        return any(path == name or path.startswith(f"{name}/") for name in self._dropped)

    def document(self, path: str, text: str) -> str:
        """A Markdown document without them.

        Lines of code blocks that name them are left out, and rows of tables and items of lists that begin with one of
        them; elsewhere a link becomes its text.

        Args:
            path: of the document.
            text: of the document.
        """
        folder = posixpath.dirname(path)
        kept: list[str] = []
        fenced = leaving_out = False
        for line in text.splitlines(keepends=True):
            if line.lstrip().startswith("```"):
                fenced, leaving_out = not fenced, False
            elif fenced:
                if self._mentioned.search(line):
                    continue
            elif self._is_about(line, folder):
                leaving_out = not line.lstrip().startswith("|")
                continue
            elif leaving_out and re.match(r"\s+\S", line):
                # The item goes on in an indented line.
                continue
            else:
                leaving_out = False
                line = self._unlinked(line, folder)
            kept.append(line)
        return "".join(kept)

    def _leads(self, target: str, folder: str) -> bool:
        return self.holds(posixpath.normpath(posixpath.join(folder, target)))

    def _is_about(self, line: str, folder: str) -> bool:
        """Whether a row or an item begins with what is left out."""
        start = _ENTRY.match(line)
        if start is None:
            return False
        if link := _LINK.match(line, start.end()):
            return self._leads(link[2], folder)
        code = _CODE.match(line, start.end())
        return code is not None and bool(self._mentioned.search(code[1]))

    def _unlinked(self, line: str, folder: str) -> str:
        def link(match: re.Match[str]) -> str:
            return match[1] if self._leads(match[2], folder) else match[0]

        def code(match: re.Match[str]) -> str:
            return match[1] if self._mentioned.search(match[1]) else match[0]

        return _CODE.sub(code, _LINK.sub(link, line))
