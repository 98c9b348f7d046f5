"""The checks of claims detect mutations of the code: changing a rule or a clipper makes them fail.

Each mutant is a mistake found in real implementations of Adam. It replaces the rule in the optimizers' own tables.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sympy

from steadystep.clipping import clip_norm
from steadystep.lab.theory import CLAIMS
from steadystep.lab.theory.run import Outcome, run_claim
from steadystep.lab.theory.stability_thresholds import threshold
from steadystep.optimizers import adam, amsgrad, sgd
from steadystep.tracing.ops import maximum, sqrt, where

FAST = ("bias-correction", "starvation")
TORCH = ("torch", False)


def no_bias_correction(t, lr, beta1, beta2, eps):
    return lr, beta1, 1 - beta1, beta2, 1 - beta2, 1.0, 1.0, eps


def second_moment_uncorrected(t, lr, beta1, beta2, eps):
    return lr, beta1, 1 - beta1, beta2, 1 - beta2, 1 / (1 - beta1**t), 1.0, eps


def eps_under_the_root(g, p, m, v, *, lr, beta1, one_minus_beta1, beta2, one_minus_beta2, debias1, debias2, eps):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    return p - lr * (debias1 * m) / sqrt(debias2 * v + eps), m, v


def eps_before_the_correction(g, p, m, v, *, lr, beta1, one_minus_beta1, beta2, one_minus_beta2, debias1, debias2, eps):
    m = beta1 * m + one_minus_beta1 * g
    v = beta2 * v + one_minus_beta2 * g * g
    return p - lr * (debias1 * m) / (sqrt(debias2) * (sqrt(v) + eps)), m, v


def betas_swapped(g, p, m, v, *, lr, beta1, one_minus_beta1, beta2, one_minus_beta2, debias1, debias2, eps):
    m = beta2 * m + one_minus_beta2 * g
    v = beta1 * v + one_minus_beta1 * g * g
    return p - lr * (debias1 * m) / (sqrt(debias2 * v) + eps), m, v


def run_checks(names: tuple[str, ...]) -> list[Outcome]:
    return [run_claim(CLAIMS[name]) for name in names]


@pytest.mark.parametrize(
    ("part", "mutant"),
    [
        ("scalars", no_bias_correction),
        ("scalars", second_moment_uncorrected),
        ("update", eps_under_the_root),
        ("update", eps_before_the_correction),
        ("update", betas_swapped),
    ],
)
def test_a_mutated_adam_fails_claims(monkeypatch: pytest.MonkeyPatch, part: str, mutant: Callable[..., Any]) -> None:
    monkeypatch.setitem(adam.RULES, TORCH, replace(adam.RULES[TORCH], **{part: mutant}))
    changed = [outcome for outcome in run_checks(FAST) if not outcome.as_recorded]
    assert "bias-correction" in {outcome.claim.id for outcome in changed}
    assert all(outcome.status_change for outcome in changed)


def test_a_restored_adam_passes_again() -> None:
    """Check that no code compiled for a mutant is reused."""
    assert [outcome.status_change for outcome in run_checks(FAST) if not outcome.as_recorded] == []


def test_an_amsgrad_without_the_maximum_fails_its_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_maximum(g, p, m, v, x, *, lr, beta1, one_minus_beta1, beta2, one_minus_beta2, debias1, debias2, eps):
        m = beta1 * m + one_minus_beta1 * g
        v = beta2 * v + one_minus_beta2 * g * g
        x = maximum(v, v)
        return p - lr * (debias1 * m) / (sqrt(debias2 * x) + eps), m, v, x

    monkeypatch.setitem(amsgrad.RULES, "paper", replace(amsgrad.RULES["paper"], update=without_maximum))
    (outcome,) = run_checks(("nonconvergence",))
    assert outcome.evidence.status == "unsettled"


def enlarging(norm, limit):
    return where(norm > 0, limit / maximum(norm, 1e-300), 1.0), norm > 0


def with_a_constant_in_the_denominator(norm, limit):
    return where(norm > limit, limit / (norm + 1e-6), 1.0), norm > limit


@pytest.mark.parametrize("mutant", [enlarging, with_a_constant_in_the_denominator])
def test_mutated_clipping_fails_its_claim(monkeypatch: pytest.MonkeyPatch, mutant: Callable[..., Any]) -> None:
    monkeypatch.setattr(clip_norm, "to_limit", mutant)
    (outcome,) = run_checks(("printed-clipping",))
    assert outcome.evidence.status == "unsettled"


def test_a_mutated_momentum_has_a_different_threshold() -> None:
    def twice(g, p, u, *, lr, momentum, gain):
        u = momentum * u + gain * g
        return p - lr * (g + u), u

    def never(g, p, u, *, lr, momentum, gain):
        return p, momentum * u + gain * g

    right = sgd.RULES["torch", False]
    expected = threshold(right, lr=1, momentum=0.9, gain=1)
    assert float(expected) == pytest.approx(3.8)
    assert float(threshold(replace(right, update=twice), lr=1, momentum=0.9, gain=1)) == pytest.approx(3.8 / 2.9)
    assert threshold(replace(right, update=never), lr=1, momentum=0.9, gain=1) == sympy.nan
