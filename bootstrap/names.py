"""What a project may be called, and every form in which its name is written."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterable

from bootstrap.errors import UsageError

TEMPLATE = "insurance_claims"
"""The name of the template's package: in each of its forms it is the old name, of which nothing is left."""

TEMPLATE_BASE = "claims"
"""What names of Azure resources begin with: ``baseName`` in environment_setup/arm/parameters."""

SHORTEST, LONGEST = 3, 40

_SERVICE = 32
"""Most characters of the name of a web service of Azure Machine Learning."""

_BASE = 8
"""Most characters of ``baseName``: a storage account has 24, of which the environment and a hash take the rest."""

_SHAPE = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", re.MULTILINE)
_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)
}

OTHER_MODULES = frozenset(
    "attr azure azureml backports databricks dateutil dotenv git google graphql importlinter ipykernel_launcher "
    "jupyter jupyterlab_jupytext jupytext_config jwt markdown_it mpl_toolkits mypyc nacl ndg OpenSSL opentelemetry "
    "PIL proto pylab rpds ruamel sklearn socks sockshandler tlz xdist yaml zmq".split()
)
"""Modules of the locked packages that are not called like the package; a test compares them with what is installed."""


def forms(name: str) -> dict[str, str]:
    """The name as packages, services, environment variables, classes and sentences write it.

    Args:
        name: of a package, such as ``insurance_claims``.

    Returns:
        What the form is, and the name in it. Forms of Azure's services are cut to what Azure allows.
    """
    words = name.split("_")
    lower = [word.lower() for word in words]
    capital = [word[0].upper() + word[1:] for word in words]
    kebab = "-".join(lower)
    service = kebab[: _SERVICE - len("-aci")].rstrip("-")
    return {
        "package": name,
        "aci": f"{service}-aci",
        "aks": f"{service}-aks",
        "kebab": kebab,
        "variable": name.upper(),
        "class": "".join(capital),
        "joined": "".join(lower),
        "title": " ".join(capital),
        "sentence": " ".join([capital[0], *lower[1:]]),
        "words": " ".join(lower),
    }


def base_name(name: str) -> str:
    """What names of Azure resources begin with: 3 to 8 lower-case letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())[:_BASE].ljust(3, "0")


class Renamer:
    """Writes a project's name wherever the template's stands."""

    def __init__(self, name: str) -> None:
        self._same = name == TEMPLATE
        self._base = base_name(name)
        self._forms = dict(zip(forms(TEMPLATE).values(), forms(name).values()))
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        """The text, or path, with the new name."""
        if self._same:
            return text
        # In one pass: a new name may hold the old one.
        text = _BASES.sub(lambda match: f"{match[1] or ''}{self._base}", text)
        return self._pattern.sub(lambda match: self._forms[match[0]], text)


_BASES = re.compile(
    rf'("baseName":\s*(?:{{\s*"value":\s*)?"){TEMPLATE_BASE}(?=")'
    rf"|(?<!\w)(?<!insurance-){TEMPLATE_BASE}(?=-(?:dev|test|prod)\b)"
)
"""Names of Azure resources: in parameter files and their like, and as resources of an environment."""


def check_name(name: str, taken: dict[str, str]) -> None:
    """Refuse a name that cannot be that of a package, of a folder on every system, and of services on Azure.

    Args:
        name: that was asked for.
        taken: what ``taken_names`` gives.

    Raises:
        UsageError: with the reason.
    """
    if not SHORTEST <= len(name) <= LONGEST:
        raise UsageError(
            f"the name {name!r} has {len(name)} characters: give one of {SHORTEST} to {LONGEST}"
        )
    if not _SHAPE.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name: give letters (a to z) and digits, beginning with a letter, with single "
            "underscores between words, such as customer_churn"
        )
    if keyword.iskeyword(name) or keyword.iskeyword(name.lower()):
        raise UsageError(f"{name!r} is a keyword of Python: give another name")
    if reason := taken.get(name.lower()):
        raise UsageError(f"{name!r} is {reason}: give another name")


def taken_names(paths: Iterable[str], requirements: str) -> dict[str, str]:
    """Names that something else has, in lower case as file systems may see them, and what has them.

    Args:
        paths: of the template's files.
        requirements: the text of requirements.txt.
    """
    taken = dict.fromkeys(_DEVICES, "a device on Windows")
    folders = {path.split("/")[0] for path in paths if "/" in path} - {TEMPLATE}
    made = ("build", "dist", "mlruns", "node_modules", "bootstrap")
    taken.update({folder.lower(): "a folder of the project" for folder in (*folders, *made)})
    packages = {
        re.sub(r"[-.]+", "_", package).lower() for package in _REQUIREMENT.findall(requirements)
    }
    modules = packages | {module.lower() for module in OTHER_MODULES}
    taken.update(dict.fromkeys(modules, "a module that the project depends on"))
    # Python 3.9 does not know the whole list; the built-in ones are of all versions.
    standard = getattr(sys, "stdlib_module_names", sys.builtin_module_names)
    taken.update({module.lower(): "a module of Python" for module in (*standard, "test")})
    return taken
