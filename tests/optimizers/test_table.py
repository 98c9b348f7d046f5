"""The tables that drive the tests have a row for every rule, every variant and every clipper."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch

import steadystep
import steadystep.clipping
import steadystep.optimizers
from cases import CLIPPERS, OPTIMIZERS
from steadystep.rule import Rule


def rules_within(value: Any) -> Iterator[Rule]:
    if isinstance(value, Rule):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from rules_within(inner)


def rules() -> dict[str, Rule]:
    """Return every rule defined in a module of the optimizers, alone or in a table, by its location."""
    locations: dict[int, tuple[str, Rule]] = {}
    for module in pkgutil.iter_modules(steadystep.optimizers.__path__):
        names = vars(importlib.import_module(f"steadystep.optimizers.{module.name}"))
        for name, value in names.items():
            for number, rule in enumerate(rules_within(value)):
                locations.setdefault(id(rule), (f"{module.name}.{name} {number}", rule))
    return dict(locations.values())


def clippers() -> list[type[steadystep.Clipper]]:
    names = vars(steadystep.clipping).values()
    return [
        kind
        for kind in names
        if isinstance(kind, type) and issubclass(kind, steadystep.Clipper) and kind is not steadystep.Clipper
    ]


def test_every_rule_has_a_row() -> None:
    tested = set()
    for case in OPTIMIZERS:
        optimizer = case.make([torch.zeros(1, requires_grad=True)])
        tested.add(id(optimizer.rule(optimizer.param_groups[0])))
    known = rules()
    assert len(known) > 30
    untested = [location for location, rule in known.items() if id(rule) not in tested]
    assert untested == [], "add a row for each of these rules to OPTIMIZERS in tests/cases.py"


@pytest.mark.parametrize("name", steadystep.optimizers.OPTIMIZERS)
def test_every_variant_has_a_row(name: str) -> None:
    variants = steadystep.optimizers.OPTIMIZERS[name].variants
    assert {case.options.get("variant", variants[0]) for case in OPTIMIZERS if case.name == name} == set(variants), (
        f"add a row for each variant of {name} to OPTIMIZERS in tests/cases.py"
    )


@pytest.mark.parametrize("kind", clippers(), ids=lambda kind: kind.__name__)
def test_every_clipper_has_a_row(kind: type[steadystep.Clipper]) -> None:
    assert any(type(case.make()) is kind for case in CLIPPERS), (
        f"add a row for {kind.__name__} to CLIPPERS in tests/cases.py"
    )
