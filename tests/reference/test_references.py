"""Test the references against torch.optim in float64, figures from the design notes, and manual computations."""

import itertools
import math
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from reference.optimizers import CASES, REFERENCES, VARIANTS
from reference.optimizers.rectification import rho
from reference.optimizers.trajectory import Gradients, Params, Trajectory
from reference.problem import STEPS, make_problem, warm_restarts

TORCH: dict[str, tuple[type[torch.optim.Optimizer], dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {}),
    "Adagrad": (torch.optim.Adagrad, {}),
    "RMSprop": (torch.optim.RMSprop, {}),
    "Adam": (torch.optim.Adam, {}),
    "AdamW": (torch.optim.AdamW, {}),
    "NAdam": (torch.optim.NAdam, {}),
    "AMSGrad": (torch.optim.Adam, {"amsgrad": True}),
    "RAdam": (torch.optim.RAdam, {}),
}
TORCH_CASES = [(name, kwargs) for name, variant, kwargs in CASES if variant == "torch"]


@contextmanager
def float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def torch_trajectory(
    name: str, params: Params, grads: Gradients, kwargs: dict[str, Any], lrs: Sequence[float] | None = None
) -> Trajectory:
    kind, fixed = TORCH[name]
    with float64():
        tensors = [torch.tensor(p, requires_grad=True) for p in params]
        optimizer = kind(tensors, **fixed, **kwargs)
        history = []
        for k, step in enumerate(grads):
            if lrs is not None:
                optimizer.param_groups[0]["lr"] = lrs[k]
            for p, g in zip(tensors, step, strict=True):
                p.grad = None if g is None else torch.tensor(g)
            optimizer.step()
            history.append([p.detach().tolist() for p in tensors])
    return history


def flat(history: Trajectory) -> list[float]:
    return [x for step in history for tensor in step for x in tensor]


def discrepancy(a: Trajectory, b: Trajectory) -> float:
    """Return the largest relative difference between two trajectories over all elements."""
    pairs = list(zip(flat(a), flat(b), strict=True))
    assert all(math.isfinite(x) and math.isfinite(y) for x, y in pairs)
    return max(abs(x - y) / max(abs(x), abs(y)) for x, y in pairs if x != y) if a != b else 0.0


def path_of(name: str, values: Sequence[float], **kwargs: Any) -> list[float]:
    """Return, for one parameter that starts at 0, its value after every step with these gradients."""
    return [step[0][0] for step in REFERENCES[name]([[0.0]], [[[g]] for g in values], **kwargs)]


def steps_of(path: Sequence[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise([0.0, *path])]


def default_lr(name: str, kwargs: dict[str, Any]) -> float:
    if "lr" in kwargs:
        return kwargs["lr"]
    defaults = REFERENCES[name].__kwdefaults__
    assert defaults is not None
    return defaults["lr"]


@pytest.mark.parametrize("scheduled", [False, True], ids=["constant", "scheduled"])
@pytest.mark.parametrize(("name", "kwargs"), TORCH_CASES, ids=str)
def test_same_as_torch(name: str, kwargs: dict[str, Any], scheduled: bool) -> None:
    params, grads = make_problem()
    lrs = warm_restarts(default_lr(name, kwargs)) if scheduled else None
    ours = REFERENCES[name](params, grads, variant="torch", lrs=lrs, **kwargs)
    assert discrepancy(ours, torch_trajectory(name, params, grads, kwargs, lrs)) < 1e-12


def test_cases_cover_every_optimizer_of_torch_and_every_variant() -> None:
    assert {name for name, _ in TORCH_CASES} == set(TORCH)
    assert {(name, variant) for name, variant, _ in CASES} == {(n, v) for n in VARIANTS for v in VARIANTS[n]}


@pytest.mark.parametrize("name", REFERENCES)
def test_default_variant_and_unknown_variant(name: str) -> None:
    params, grads = make_problem(steps=8)
    reference = REFERENCES[name]
    assert reference(params, grads) == reference(params, grads, variant=VARIANTS[name][0])
    with pytest.raises(ValueError, match="variant"):
        reference(params, grads, variant="no such thing")


# The number of pairs of cases that are the same by definition: the hyperparameter has no effect in this variant.
SAME = {
    ("RAdam", "author"): 2,  # always decoupled: the flag changes nothing; two sets of betas never rectify
    ("AdaBound", "paper"): 1,  # no gamma
    ("AMSBound", "paper"): 1,
}


@pytest.mark.parametrize(("name", "variant"), [(n, v) for n in VARIANTS for v in VARIANTS[n]])
def test_every_case_is_finite_and_depends_on_its_hyperparameters(name: str, variant: str) -> None:
    params, grads = make_problem()
    runs = [REFERENCES[name](params, grads, variant=v, **kw) for n, v, kw in CASES if (n, v) == (name, variant)]
    equal_pairs = sum(discrepancy(a, b) < 1e-9 for a, b in itertools.combinations(runs, 2))
    assert equal_pairs == SAME.get((name, variant), 0)


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [(n, a, b) for n in VARIANTS for a, b in itertools.combinations(VARIANTS[n], 2)],
)
def test_variants_differ(name: str, first: str, second: str) -> None:
    params, grads = make_problem()
    sets = [kwargs for n, v, kwargs in CASES if (n, v) == (name, second)]
    differences = []
    for kwargs in sets:
        lrs = warm_restarts(default_lr(name, kwargs))
        a, b = (REFERENCES[name](params, grads, variant=v, lrs=lrs, **kwargs) for v in (first, second))
        differences.append(discrepancy(a, b))
    assert max(differences) > 1e-6


def test_a_tensor_without_a_gradient_is_not_updated_and_its_step_is_not_counted() -> None:
    params, grads = make_problem()
    assert any(g is None for step in grads for g in step)
    for name, variant, kwargs in CASES:
        history = REFERENCES[name](params, grads, variant=variant, **kwargs)
        for j in range(len(params)):
            present = [[step[j]] for step in grads if step[j] is not None]
            alone = REFERENCES[name]([params[j]], present, variant=variant, **kwargs)
            assert alone[-1][0] == history[-1][j], (name, variant, kwargs)


def test_velocity_form_is_torchs_at_constant_lr_only() -> None:
    params, grads = make_problem()
    for nesterov in (False, True):
        kwargs: dict[str, Any] = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, "nesterov": nesterov}
        sgd = REFERENCES["SGD"]
        assert discrepancy(sgd(params, grads, **kwargs), sgd(params, grads, variant="velocity", **kwargs)) < 1e-12
        # u = mu*u - a*g includes the learning rate: after it falls to 0, the velocity still moves the parameter.
        moved = sgd([[0.0]], [[[1.0]], [[1.0]]], variant="velocity", lrs=[0.05, 0.0], **kwargs)
        assert moved[1] != moved[0]
    with pytest.raises(ValueError, match="dampening"):
        REFERENCES["SGD"](params, grads, variant="velocity", dampening=0.1)


def test_independent_decay_is_torchs_divided_by_base_lr() -> None:
    params, grads = make_problem()
    lr, lrs = 3e-3, warm_restarts(3e-3)
    ours = REFERENCES["AdamW"](params, grads, lr=lr, weight_decay=0.02, variant="independent", lrs=lrs)
    theirs = torch_trajectory("AdamW", params, grads, {"lr": lr, "weight_decay": 0.02 / lr}, lrs)
    assert discrepancy(ours, theirs) < 1e-12


# Figures from the design notes on the optimizers.


def test_epsilon_hat_acts_like_a_31_6_times_larger_eps_in_the_first_step() -> None:
    eps, lr = 1e-4, 1.0
    plain, hat = (-path_of("Adam", [1.0], lr=lr, eps=eps, variant=v)[0] for v in ("torch", "epsilon_hat"))
    assert (1 / hat - 1) / (1 / plain - 1) == pytest.approx(31.6, abs=0.05)


@pytest.mark.parametrize(("variant", "displacement"), [("paper", -2.774), ("torch", -1.869), ("corrected", -0.203)])
def test_amsgrad_displacement(variant: str, displacement: float) -> None:
    path = path_of("AMSGrad", [10.0] + [1.0] * 1999, lr=1e-3, variant=variant)
    assert path[-1] == pytest.approx(displacement, abs=5e-4)


def test_amsgrad_rate_is_monotone_in_the_paper_only() -> None:
    # With b1 = 0 and g = 1 after the spike the step is the effective rate itself.
    grads = [10.0] + [1.0] * 500
    paper, torchs = (
        [-s for s in steps_of(path_of("AMSGrad", grads, betas=(0.0, 0.999), variant=v))][1:] for v in ("paper", "torch")
    )
    assert all(b <= a * (1 + 1e-9) for a, b in itertools.pairwise(paper))
    assert torchs[-1] > 1.5 * torchs[0]


@pytest.mark.parametrize(("variant", "step"), [("author", 7.94e-3), ("paper", 9.99e-3)])
def test_yogi_step_at_1000(variant: str, step: float) -> None:
    assert -steps_of(path_of("Yogi", [1.0] * 1000, variant=variant))[-1] == pytest.approx(step, abs=5e-6)


def test_radam_first_rectified_step() -> None:
    assert [next(t for t in range(1, 50) if rho(0.999, t) > bound) for bound in (5, 4)] == [6, 5]
    for variant, first in (("torch", 6), ("paper", 5)):
        sizes = [-s for s in steps_of(path_of("RAdam", [100.0] * 10, variant=variant))]
        assert sizes[: first - 1] == pytest.approx([0.1] * (first - 1))  # un-normalised: lr*g
        assert all(s < 2e-3 for s in sizes[first - 1 :])
    held = path_of("RAdam", [100.0] * 6, variant="author")
    assert held[:5] == [0.0] * 5 and held[5] < 0


# First steps computed manually, for the variants that torch does not have: g = 2, p = 0.


@pytest.mark.parametrize(
    ("name", "kwargs", "moved"),
    [
        ("AMSGrad", {"variant": "paper"}, 1e-3 * 0.2 / (math.sqrt(0.004) + 1e-8)),
        ("AMSGrad", {"variant": "corrected"}, 1e-3 * 2 / (2 + 1e-8)),
        ("AdaBelief", {"variant": "author"}, 1e-3 * 2),
        ("AdaBelief", {"variant": "paper"}, 1e-3 * 2 / (math.sqrt((0.001 * 1.8**2 + 1e-8) / 0.001) + 1e-8)),
        ("Yogi", {"variant": "author"}, 1e-2 * math.sqrt(0.001) * 2 / (math.sqrt(1e-6 + 0.004) + 1e-3)),
        ("Yogi", {"variant": "paper"}, 1e-2 * 0.2 / (2 + 1e-3)),
        (
            "Yogi",
            {"variant": "optax"},
            1e-2 * (0.2 + 0.9e-6) / 0.1 / (math.sqrt((1e-6 + 0.004) / 0.001) + 1e-3),
        ),
        ("AdaBound", {"variant": "author"}, 1e-3 * math.sqrt(0.001) / 0.1 / (math.sqrt(0.004) + 1e-8) * 0.2),
        ("AdaBound", {"variant": "author", "gamma": 0.5}, 0.1 / 3 * 0.2),  # at the lower bound
        ("AdaBound", {"variant": "author", "lr": 10.0, "gamma": 0.5}, 0.1 * 3 * 0.2),  # at the upper bound
        ("AdaBound", {"variant": "paper"}, 1e-3 / math.sqrt(0.004) * 0.2),
        ("LAMB", {}, 1e-3 * 2 / (2 + 1e-6)),  # norm(p) is 0: ratio 1
        ("Lion", {}, 1e-4),
        ("StableAdamW", {"weight_decay": 0.0}, 1e-3 * 2 / (2 + 1e-6)),
    ],
    ids=str,
)
def test_first_step_by_hand(name: str, kwargs: dict[str, Any], moved: float) -> None:
    assert -path_of(name, [2.0], **kwargs)[0] == pytest.approx(moved, rel=1e-12)


def test_adabound_paper_divides_by_the_root_of_t() -> None:
    # Constant gradient 2: from v = 4*(1-.999^t) the rate stays inside the wide early bounds.
    t = 9
    v, m = 4 * (1 - 0.999**t), 2 * (1 - 0.9**t)
    expected = 1e-3 / math.sqrt(v) / math.sqrt(t) * m
    assert -steps_of(path_of("AdaBound", [2.0] * t, variant="paper"))[-1] == pytest.approx(expected, rel=1e-9)
    assert path_of("AdaBound", [0.0, 0.0], variant="paper") == [0.0, 0.0]


def test_lamb_trust_ratio() -> None:
    # p = (3, 4), g = (1, -1): r is (1, -1)/(1 + 1e-6) + wd*p, so the length of the step is lr*norm(p).
    for kwargs, expected in (({"weight_decay": 0.1}, 5e-3), ({"rectified": True}, 5e-3)):
        after = REFERENCES["LAMB"]([[3.0, 4.0]], [[[1.0, -1.0]]], **kwargs)[0][0]
        assert math.hypot(after[0] - 3, after[1] - 4) == pytest.approx(expected, rel=1e-12)
    after = REFERENCES["LAMB"]([[3.0, 4.0]], [[[1.0, -1.0]]], variant="nvlamb")[0][0]
    assert after[0] - 3 == pytest.approx(-1e-3 / (1 + 1e-6), rel=1e-9)
    assert REFERENCES["LAMB"]([[3.0, 4.0]], [[[0.0, 0.0]]])[0] == [[3.0, 4.0]]


def test_rectified_lamb_has_radams_direction() -> None:
    # nvlamb without decay has ratio 1, so its trajectory is RAdam's with LAMB's eps.
    params, grads = make_problem()
    lamb = REFERENCES["LAMB"](params, grads, variant="nvlamb", rectified=True)
    assert discrepancy(lamb, REFERENCES["RAdam"](params, grads, eps=1e-6)) < 1e-12


def test_stableadamw_divides_the_rate_by_the_rms() -> None:
    # v after many gradients of 1 is 1; a gradient of 10 makes vh = .99 + .01*100 = 1.99, RMS = sqrt(100/1.99).
    path = steps_of(path_of("StableAdamW", [1.0] * 3000 + [10.0], weight_decay=0.0))
    expected = 1e-3 / math.sqrt(100 / 1.99) * 1.9 / (math.sqrt(1.99) + 1e-6)
    assert -path[-1] == pytest.approx(expected, rel=1e-6)


# Figures from the design notes on the theory.


def steepest(b1: float, b2: float, t: int) -> list[float]:
    """Return t gradients that make the last step of Adam as large as possible."""
    return [max((b1 / b2) ** (t - k), 1e-150) for k in range(1, t + 1)]


@pytest.mark.parametrize(("betas", "bound"), [((0.9, 0.999), 7.270), ((0.9, 0.95), 1.165)], ids=["default", ".95"])
def test_supremum_of_adams_step(betas: tuple[float, float], bound: float) -> None:
    path = steps_of(path_of("Adam", steepest(*betas, 15_000), lr=1.0, eps=0.0, betas=betas))
    assert -path[-1] == pytest.approx(bound, abs=6e-4)


def test_ten_steps_at_100x_give_6_53() -> None:
    path = steps_of(path_of("Adam", [1.0] * 12_000 + [100.0] * 10, lr=1.0, eps=0.0))
    assert -min(path) == pytest.approx(6.53, abs=5e-3)


@pytest.mark.parametrize(
    ("spike", "after", "step"),
    [(100, 50, 0.324), (100, 3751, 0.900), (1000, 50, 0.049), (1000, 3000, 0.140), (2, 50, 0.999)],
)
def test_starvation_after_a_spike(spike: float, after: int, step: float) -> None:
    history = 12_000
    path = steps_of(path_of("Adam", [1.0] * history + [spike] + [1.0] * after, lr=1.0, eps=0.0))
    assert -path[history + after] == pytest.approx(step, abs=6e-4)


def test_a_lone_spike_moves_a_parameter_by_31_77_steps() -> None:
    path = path_of("Adam", [1e-9] * 15_000 + [1.0] + [1e-300] * 1500, lr=1.0, eps=0.0)
    assert path[14_999] - path[-1] == pytest.approx(31.77, abs=0.01)


@pytest.mark.parametrize(
    ("name", "kwargs", "ends"),
    [
        ("Adam", {}, (0.547, 0.955, 0.995)),
        ("AMSGrad", {"variant": "paper", "eps": 1e-8}, (-0.90, -0.83, -0.08)),
    ],
)
def test_adam_need_not_converge(name: str, kwargs: dict[str, Any], ends: tuple[float, ...]) -> None:
    grads = [1010.0 if t % 101 == 1 else -10.0 for t in range(1, 100_001)]
    unit = steps_of(path_of(name, grads, lr=1.0, betas=(0.9, 0.99), **kwargs))
    for lr, end in zip((0.1, 0.01, 0.001), ends, strict=True):
        x = 0.0
        for step in unit:
            x = min(max(x + lr * step, -1.0), 1.0)
        assert x == pytest.approx(end, abs=6e-3 if name == "AMSGrad" else 6e-4)


def test_the_scale_of_the_problem_varies_by_1000() -> None:
    _, grads = make_problem()
    scales = [math.hypot(*g) / math.sqrt(len(g)) for step in grads for g in step if g is not None]
    assert len(grads) == STEPS and max(scales) / min(scales) > 1000
    assert statistics.median(scales) < 0.3
