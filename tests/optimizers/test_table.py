"""The table that drives the tests has a row for every rule there is."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch

import steadystep
import steadystep.optimizers
from cases import OPTIMIZERS
from steadystep.rule import Rule


def rules_within(value: Any) -> Iterator[Rule]:
    if isinstance(value, Rule):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from rules_within(inner)


def rules() -> dict[str, Rule]:
    """Every rule that a module of the optimizers defines, by itself or in a table, by where it is found."""
    found: dict[int, tuple[str, Rule]] = {}
    for module in pkgutil.iter_modules(steadystep.optimizers.__path__):
        names = vars(importlib.import_module(f"steadystep.optimizers.{module.name}"))
        for name, value in names.items():
            for number, rule in enumerate(rules_within(value)):
                found.setdefault(id(rule), (f"{module.name}.{name} {number}", rule))
    return dict(found.values())


def test_every_rule_has_a_row() -> None:
    followed = set()
    for case in OPTIMIZERS:
        optimizer = case.make([torch.zeros(1, requires_grad=True)])
        followed.add(id(optimizer.rule(optimizer.param_groups[0])))
    known = rules()
    assert len(known) > 30
    assert [where for where, rule in known.items() if id(rule) not in followed] == []


@pytest.mark.parametrize("name", steadystep.optimizers.OPTIMIZERS)
def test_every_variant_has_a_row(name: str) -> None:
    variants = steadystep.optimizers.OPTIMIZERS[name].variants
    assert {case.options.get("variant", variants[0]) for case in OPTIMIZERS if case.name == name} == set(variants)
