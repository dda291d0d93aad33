"""The table of docs/fields.md, made from the config dataclasses: python docs/fields.py"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

from docstring_parser import parse

from core.networks import ARCHITECTURES
from core.training.config import TrainConfig

HEAD = """# Fields of a training config

Every key of the YAML files, which is an option of `derain train` and `compress distill` too
(`--mixture.crop 96`). Made by `python docs/fields.py`.
"""


def configs_in(hint: Any) -> list[type[Any]]:
    """Return the config dataclasses that an annotation holds."""
    if dataclasses.is_dataclass(hint):
        return [hint]  # type: ignore[list-item]
    return [config for inner in get_args(hint) for config in configs_in(inner)]


def said(field: dataclasses.Field[Any]) -> str:
    """Return the default of a field as YAML has it; nothing where it must be given."""
    default: Any = field.default
    if default is dataclasses.MISSING:
        default = field.default_factory() if callable(field.default_factory) else "must be given"
    if dataclasses.is_dataclass(default) or default in ("", None, {}):
        return ""
    return str(list(default) if isinstance(default, tuple) else default)


def table(title: str, config: type[Any], place: str, seen: dict[type[Any], str]) -> list[str]:
    """Return a section for a config, and one for each config that its fields hold, each once."""
    told = {p.arg_name: p.description or "" for p in parse(config.__doc__ or "").params}
    lines = [f"\n## {title}\n", "| field | default | meaning |", "| --- | --- | --- |"]
    below: list[str] = []
    hints = get_type_hints(config)
    for field in dataclasses.fields(config):
        text = re.sub(r":\w+:`[\w.]*?(\w+)`", r"\1", " ".join(told[field.name].split()))
        for inner in configs_in(hints[field.name]):
            many = ".NAME" if "dict" in str(hints[field.name]) else ""
            name = f"{place}{field.name}{many}"
            if inner in seen:
                text += f" Fields as of `{seen[inner]}`."
                continue
            seen[inner] = name
            below += table(f"`{name}`", inner, f"{name}.", seen)
        lines.append(f"| `{place}{field.name}` | {said(field)} | {text.replace('``', '`')} |")
    return [*lines, *below]


def page() -> str:
    """Return the page."""
    lines = [HEAD, *table("A training", TrainConfig, "", {})]
    for name, architecture in ARCHITECTURES.items():
        lines += table(f"`network` of `architecture: {name}`", architecture.config, "network.", {})
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "fields.md").write_text(page(), encoding="utf-8")
