"""Adam does not always converge, not even on convex problems (Reddi, Kale & Kumar 2018)."""

from functools import partial

import numpy as np
import sympy
from plotly import graph_objects as go

from steadystep.lab.figure import COLORS, DASHES, NEUTRAL, Figure, styled
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Measurement, Progress
from steadystep.lab.theory.play import play
from steadystep.optimizers import Adam, AMSGrad
from steadystep.rule import Rule

T = 100_000
BOX = (-1.0, 1.0)
BETAS = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
RATES = (0.1, 0.01, 0.001)
LONG = 2_000_000
SEEDS = 5


def cycle(steps: int = T) -> np.ndarray:
    """Return the slopes of f_t(x) = 1010x if t mod 101 = 1, else -10x.

    The slopes of a cycle add up to 10, so x = -1 is the best point.
    """
    return np.where(np.arange(1, steps + 1) % 101 == 1, 1010.0, -10.0)


def random_slopes(seed: int) -> np.ndarray:
    """Draw LONG independent slopes: 1010 with probability 0.01, else -10."""
    return np.where(np.random.default_rng(seed).random(LONG) < 0.01, 1010.0, -10.0)


def check(progress: Progress) -> Evidence:
    """Run Adam and AMSGrad on the counterexamples of Reddi, Kale & Kumar."""
    adam = Adam.rule({"variant": "torch", "amsgrad": False})
    ams = {variant: AMSGrad.rule({"variant": variant}) for variant in ("paper", "torch")}
    slopes = cycle()
    paths = {
        (name, lr): play(rule, slopes, {**BETAS, "lr": lr}, box=BOX)[:, 0]
        for name, rule in (("Adam", adam), ("AMSGrad", ams["paper"]))
        for lr in RATES
    }
    phases = paths["Adam", 0.1][-101:]
    progress(0.4)

    # Theorem 4.1 of Kingma & Ba states that the average regret vanishes for alpha_t = alpha / sqrt(t).
    decaying = 0.3 / np.sqrt(np.arange(1.0, LONG + 1))
    regret = {
        name: _regret(play(rule, cycle(LONG), {**BETAS, "lr": decaying}, box=BOX)[:, 0])
        for name, rule in (("Adam", adam), ("AMSGrad", ams["paper"]))
    }
    progress(0.5)
    gamma = {
        "Adam": _gamma(adam, slopes, decaying[:T], 2),
        "AMSGrad": _gamma(ams["paper"], slopes, decaying[:T], 3),
    }
    stochastic = {
        name: np.array(
            [
                play(rule, random_slopes(seed), {**BETAS, "lr": 0.001}, box=BOX)[LONG // 2 :, 0].mean()
                for seed in range(SEEDS)
            ]
        )
        for name, rule in (("Adam", adam), ("AMSGrad", ams["paper"]))
    }
    progress(0.7)
    shrinking = {variant: _shrinks(rule) for variant, rule in ams.items()}
    analytic = {C: _analytic(adam, C) for C in (2.1, 3.0, 10.0, 100.0)}
    return Evidence(
        (
            Finding(
                "Adam's average regret on Reddi's cycle vanishes for a step size of 0.3/√t (it is "
                f"{regret['Adam'][0]:.2f} after {LONG // 10:,} steps and {regret['Adam'][1]:.2f} after {LONG:,} steps, "
                "as a fraction of the regret of the worst point)",
                regret["Adam"][1] < 0.5 * regret["Adam"][0],
            ),
            Finding(
                f"Γ_t, the change of √v/α_t that the proof of Theorem 4.1 assumes to be positive, is never negative "
                f"(smallest for Adam: {gamma['Adam']:.3g})",
                gamma["Adam"] >= 0,
            ),
            Finding(
                f"AMSGrad (as in its paper) converges there: its average regret falls from "
                f"{regret['AMSGrad'][0]:.2f} to {regret['AMSGrad'][1]:.2f}, and its Γ_t is never negative (smallest: "
                f"{gamma['AMSGrad']:.3g})",
                regret["AMSGrad"][1] < 0.5 * regret["AMSGrad"][0] and gamma["AMSGrad"] >= 0,
                "instead",
            ),
            Finding(
                f"With random slopes (1010 with p = 0.01) and α = 0.001, the mean iterate of Adam is "
                f"{stochastic['Adam'].mean():.2f} and that of AMSGrad {stochastic['AMSGrad'].mean():.2f} (second half "
                f"of {LONG:,} steps, {SEEDS} seeds); -1 is best",
                bool((stochastic["Adam"] > 0.5).all() and stochastic["AMSGrad"].mean() < -0.5),
                "instead",
            ),
            Finding(
                "If the slope is C at every third step and -1 otherwise, with β₁ = 0 and β₂ = 1/(1+C²), each cycle "
                "moves x upward, away from the best point, for every C > 2 (SymPy)",
                _moves_upward(),
                "instead",
            ),
            Finding(
                "The rule itself confirms it: x ends within one step of +1 for C = "
                + ", ".join(f"{C:g} ({x:.3f})" for C, x in analytic.items()),
                all(x > 0.98 for x in analytic.values()),
                "instead",
            ),
            Finding(
                f"After one gradient of 10 among gradients of 1, the divisor of torch's AMSGrad shrinks in "
                f"{shrinking['torch']} of 2000 steps, that of the paper's in {shrinking['paper']}",
                shrinking["torch"] > 1000 and shrinking["paper"] == 0,
                "instead",
            ),
            Finding(
                f"Adam's position depends on the phase of the cycle: over the last cycle, for α = 0.1, x goes from "
                f"{phases.min():.3f} to {phases.max():.3f}",
                phases.max() - phases.min() > 0.1,
                "instead",
            ),
        ),
        tuple(
            Measurement(f"{name}, α = {lr:g}: x at t = 100,000", float(paths[name, lr][-1]), stated)
            for name, figures in (("Adam", ("0.547", "0.955", "0.995")), ("AMSGrad", ("-0.90", "-0.83", "-0.08")))
            for lr, stated in zip(RATES, figures, strict=True)
        ),
        partial(_figure, paths),
    )


def _regret(x: np.ndarray) -> tuple[float, float]:
    """Return the regret against x = -1 after a tenth of the steps and after all steps.

    Both are fractions of the regret of always playing +1.
    """
    slopes = cycle(len(x))
    # The loss at step t is evaluated at x before the step.
    share = np.cumsum(slopes * (np.r_[0.0, x[:-1]] + 1.0)) / np.cumsum(slopes * 2.0)
    early, late = (float(share[(steps // 101) * 101 - 1]) for steps in (len(x) // 10, len(x)))
    return early, late


def _divisors(rule: Rule, states: np.ndarray, second: int) -> np.ndarray:
    """Return the values of sqrt(v) by which the rule divides, computed from its states and correction factors."""
    factors = rule.coefficients(np.arange(1.0, len(states) + 1), {"lr": 1.0, **BETAS})
    return np.sqrt(factors["debias2"] * states[:, second])


def _gamma(rule: Rule, slopes: np.ndarray, rates: np.ndarray, second: int) -> float:
    """Return the smallest change of sqrt(v) / lr from one step to the next."""
    return float(np.diff(_divisors(rule, play(rule, slopes, {**BETAS, "lr": rates}, box=BOX), second) / rates).min())


def _shrinks(rule: Rule) -> int:
    """Count the steps at which the divisor shrinks, for gradients of 1 with a single gradient of 10 among them."""
    gradients = np.r_[1.0, 10.0, np.ones(1999)]
    divisors = _divisors(rule, play(rule, gradients, {**BETAS, "lr": 0.001}), 3)
    return int((np.diff(divisors) < -1e-12).sum())


def _analytic(rule: Rule, C: float) -> float:
    """Return x after 30,000 steps on the analytic counterexample: slope C at every third step, else -1."""
    slopes = np.where(np.arange(1, 30_001) % 3 == 1, C, -1.0)
    rates = 0.1 / np.sqrt(np.arange(1.0, 30_001))
    hyper = {"lr": rates, "beta1": 0.0, "beta2": 1 / (1 + C**2), "eps": 1e-8}
    return float(play(rule, slopes, hyper, box=BOX)[-1, 0])


def _moves_upward() -> bool:
    """Prove that the net move of x over a cycle is positive for every C > 2, from bounds on v during the cycle."""
    C = sympy.Symbol("C", positive=True)
    b2 = 1 / (1 + C**2)
    after_c = (1 - b2) * C**2  # after the slope C, v is at least this; it is never above C^2
    second = b2 * C**2 + (1 - b2)
    third = b2 * second + (1 - b2)
    # x moves down by at most C / sqrt(after_c) and up by at least 1 / sqrt(second) + 1 / sqrt(third). In units of
    # sqrt(1 + C^2) / C these are 1, 1/sqrt(2) and sqrt(ratio). All are positive, so their squares can be compared.
    unit, ratio = (1 + C**2) / C**2, (1 + C**2) / (3 + C**2)
    pairs = ((C**2 / after_c, 1), (1 / second, sympy.Rational(1, 2)), (1 / third, ratio))
    identical = all(sympy.simplify(square / unit - expected) == 0 for square, expected in pairs)
    rises = sympy.factor(sympy.diff(ratio, C)).is_positive
    least = (1 / sympy.sqrt(2) + sympy.sqrt(ratio) - 1).subs(C, 2)
    return bool(identical and rises and least > 0)


def _figure(paths: dict[tuple[str, float], np.ndarray]) -> Figure:
    plot = go.Figure()
    # Plot means over cycles, so that the lines show the trend without the oscillation within a cycle.
    cycles = np.unique(np.geomspace(1, T // 101, 160).astype(int))
    for name, color in (("Adam", COLORS[1]), ("AMSGrad", COLORS[0])):
        for lr, dash in zip(RATES, DASHES, strict=False):
            means = paths[name, lr][: T // 101 * 101].reshape(-1, 101).mean(axis=1)
            plot.add_scatter(
                x=101 * cycles, y=means[cycles - 1], name=f"{name}, α = {lr:g}", mode="lines",
                line={"color": color, "dash": dash, "width": 2}, hovertemplate="t = %{x}: %{y:.3f}",
            )  # fmt: skip
    plot.add_hline(y=-1, line={"color": NEUTRAL, "dash": "dot", "width": 1.5})
    plot.add_annotation(
        text="best point", x=0, xref="x domain", xanchor="left", y=-1, yanchor="bottom", showarrow=False
    )
    plot.update_xaxes(title="step (log scale)", type="log", dtick=1)
    plot.update_yaxes(title="x", range=[-1.08, 1.08])
    return Figure(
        id="nonconvergence",
        title="Adam moves to the worst point, AMSGrad to the best",
        caption="Reddi's cycle: slope 1010 once in 101 steps, else -10, on [-1, 1]. Each curve shows means over "
        "cycles. AMSGrad is used as defined in its paper.",
        plot=styled(plot, height=460),
    )


CLAIM = Claim(
    id="nonconvergence",
    title="Adam's convergence theorem",
    statement=r"On online convex problems with bounded gradients, Adam's average regret vanishes for $\alpha_t = "
    r"\alpha/\sqrt t$ (Theorem 4.1 of Kingma & Ba). (Instead: it does not always vanish. The proof needs "
    r"$\Gamma_t = \sqrt{V_{t+1}}/\alpha_{t+1} - \sqrt{V_t}/\alpha_t$ to be positive semidefinite; AMSGrad, as "
    "defined in its paper, guarantees this.)",
    source="Kingma & Ba (2015), Theorem 4.1; refuted by Reddi, Kale & Kumar (2018), Theorems 1 to 3",
    check=check,
)
