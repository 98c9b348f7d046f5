"""Adam's bias correction is exact for stationary second moments (Kingma & Ba 2015, section 3)."""

import sympy

from steadystep.lab.theory.claim import Claim, Evidence, Finding, Progress
from steadystep.lab.theory.rebound import SYMBOLIC, rebind
from steadystep.optimizers import Adam
from steadystep.rule import keywords, positional

STEPS = 4
LR, BETA1, BETA2, EPS = sympy.symbols("lr beta1 beta2 eps", positive=True)
HYPERPARAMETERS = {"lr": LR, "beta1": BETA1, "beta2": BETA2, "eps": EPS}


def check(progress: Progress) -> Evidence:
    """Prove the claim symbolically by running Adam's rule on SymPy symbols."""
    rule = Adam.rule({"variant": "torch", "amsgrad": False})
    update, scalars = rebind(rule.update, SYMBOLIC), rebind(rule.scalars, SYMBOLIC)
    names, hyperparameters = keywords(rule.update), [HYPERPARAMETERS[name] for name in positional(rule.scalars)[1:]]

    def run(gradients: list[sympy.Symbol]) -> list[tuple[sympy.Expr, ...]]:
        """Return (p, m, v) after each step of the rule as SymPy expressions."""
        state, states = (sympy.Integer(0),) * 3, []
        for t, gradient in enumerate(gradients, start=1):
            state = update(gradient, *state, *scalars(sympy.Integer(t), *hyperparameters))
            states.append(state)
        return states

    t, k = sympy.symbols("t k", integer=True, positive=True)
    second, drift = sympy.symbols("s d", positive=True)
    gradients = [sympy.Symbol(f"g{i}", positive=True) for i in range(1, STEPS + 1)]
    v = sympy.expand(run(gradients)[-1][2])
    weights = [v.coeff(gradient, 2) for gradient in gradients]
    progress(0.2)

    weight = (1 - BETA2) * BETA2 ** (t - k)
    is_average = all(sympy.expand(w - weight.subs({t: STEPS, k: i})) == 0 for i, w in enumerate(weights, start=1))
    remainder = sympy.expand(v - sum(w * gradient**2 for w, gradient in zip(weights, gradients, strict=True)))

    # E is linear: with E[g_k^2] = s for all k, E[v_t] is s times the sum of the weights, for every t.
    total = sympy.simplify(sympy.summation(weight, (k, 1, t)))
    stationary = sympy.simplify(total - (1 - BETA2**t)) == 0
    debias = dict(zip(names, scalars(t, *hyperparameters), strict=True))
    corrected = sympy.simplify(debias["debias2"] * total) == 1
    first = sympy.simplify(debias["debias1"] * (1 - BETA1**t)) == 1
    progress(0.5)

    # If the second moment grows by d per step, the term zeta does not vanish.
    growing = sum(w * (second + drift * i) for i, w in enumerate(weights, start=1))
    zeta = sympy.factor(sympy.expand(growing - (1 - BETA2**STEPS) * (second + drift * STEPS)))
    vanishes = sympy.simplify(zeta.subs(drift, 0)) == 0

    # For a constant gradient g, both corrected moments are exact from the first step on:
    # each step is lr * g / (|g| + eps).
    g = sympy.Symbol("g", positive=True)
    constant = [state[0] for state in run([g, g, g])]
    exact = all(sympy.simplify(p + (i + 1) * LR * g / (g + EPS)) == 0 for i, p in enumerate(constant))
    return Evidence(
        (
            Finding(
                f"The rule's v is the sum of (1-β₂) β₂^(t-k) g_k², term by term, at t = {STEPS} (SymPy)",
                is_average and remainder == 0,
            ),
            Finding("With E[g_k²] = E[g²] for all k, E[v_t] = (1-β₂^t) E[g²] for every t (SymPy)", stationary),
            Finding(
                "The rule's correction factors cancel 1-β₁^t and 1-β₂^t exactly, for every t (SymPy)",
                corrected and first,
            ),
            Finding(
                f"If E[g_k²] grows by d per step, ζ = {_readable(zeta)} at t = {STEPS}: it is 0 only without drift",
                vanishes and zeta != 0,
            ),
            Finding("Under a constant gradient g, every step is exactly α g/(|g| + ε) (SymPy)", exact),
        )
    )


def _readable(expression: object) -> str:
    return str(expression).replace("beta2", "β₂").replace("**2", "²").replace("*", "·")


CLAIM = Claim(
    id="bias-correction",
    title="Bias correction makes Adam's moments unbiased",
    statement=r"$E[v_t] = (1 - \beta_2^t) \, E[g^2] + \zeta$, with $\zeta = 0$ for stationary second moments, so that "
    r"$\hat v_t = v_t / (1 - \beta_2^t)$ is unbiased.",
    source="Kingma & Ba (2015), section 3",
    assumptions=(r"$E[g_t^2]$ does not depend on t; without that, $\zeta$ remains.",),
    check=check,
)
