"""Evidence for a person to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ml_service.why.evidence import Evidence, Resources

_AT_MOST = 20


def describe(evidence: Evidence, verdict: str | None) -> str:
    """The verdict, then what it rests on, in lines.

    Args:
        evidence: of a run.
        verdict: on it; None where nothing is wrong.
    """
    run = evidence.run
    lines = [f"run {run.id[:8]} of {run.pipeline}: {run.status}"]
    if verdict is None:
        return f"{lines[0]}, and the gate found nothing wrong with its model"
    lines.append(f"most likely: {verdict}")
    sections = {
        "what happened": _happened(evidence),
        "the last lines of its log": iter(evidence.log),
        "warnings": iter(_shortened(evidence.warnings)),
        _since(evidence): _changed(evidence) if evidence.good else iter(()),
        "not known": iter((*evidence.unknown, *evidence.changes.unknown)),
    }
    for title, content in sections.items():
        found = list(content)
        if found:
            lines += ["", title, *(f"  {line}" for line in found)]
    return "\n".join(lines)


def _happened(evidence: Evidence) -> Iterator[str]:
    failure, used = evidence.failure, evidence.resources
    if failure is None and evidence.run.error:
        yield evidence.run.error
    if failure is not None:
        yield f"step       {failure.step}"
        kind = f"{failure.kind}: " if failure.kind else ""
        first, *rest = f"{kind}{failure.message}".splitlines()
        yield f"exception  {first}"
        yield from (f"           {line}" for line in rest)
        yield from (f"at         {place}" for place in reversed(failure.places))
    if used is not None:
        yield from _used(used)
    if evidence.refusal is not None:
        yield from (f"the gate   {reason}" for reason in evidence.refusal.reasons)


def _used(used: Resources) -> Iterator[str]:
    figures = {
        "duration ": (used.seconds, used.good_seconds, "s"),
        "memory   ": (used.peak_memory_mb, used.good_peak_memory_mb, "MB at most"),
    }
    for name, (now, before, unit) in figures.items():
        if now is not None:
            then = "" if before is None else f" (last good run: {before:,.1f})"
            yield f"{name}  {now:,.1f} {unit}{then}"


def _since(evidence: Evidence) -> str:
    good = evidence.good
    return (
        ""
        if good is None
        else f"changed since the last good run, {good.id[:8]} of {good.started[:19]}"
    )


def _changed(evidence: Evidence) -> Iterator[str]:
    changes = evidence.changes
    for name, lines in {
        "commits": changes.commits,
        "files": changes.files,
        "uncommitted": changes.uncommitted,
        "parameters": [change.describe() for change in changes.parameters],
        "packages": [change.describe() for change in changes.packages],
    }.items():
        yield from (f"{name:<12} {line}" for line in _shortened(lines))
    for data in changes.data:
        yield f"{'data':<12} {data.version.describe()}"
        yield from (f"{'':<12} {line}" for line in _shortened([c.describe() for c in data.columns]))
    found = (changes.all_files, changes.parameters, changes.packages, changes.data, changes.unknown)
    if not any(found):
        yield "nothing: neither code, parameters, packages nor data"


def _shortened(lines: Sequence[str]) -> Sequence[str]:
    more = len(lines) - _AT_MOST
    return lines if more <= 0 else [*lines[:_AT_MOST], f"and {more} more"]
