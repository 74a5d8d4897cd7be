"""An expanded pipeline as YAML text."""

from __future__ import annotations

import yaml

from azure_pipelines_local.functions import plain
from azure_pipelines_local.values import value_of
from azure_pipelines_local.yaml_source import Node


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, so that scripts stay readable."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(node: Node) -> str:
    """YAML text that reads as the same tree."""
    content = plain(value_of(node))
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
