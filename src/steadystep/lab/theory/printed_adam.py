"""Adam as printed in the paper, with the gradient as an extra factor, is not a descent method."""

import math

import numpy as np
from numba import njit

from steadystep.lab.theory.claim import Claim, Evidence, Finding, Measurement, Progress
from steadystep.lab.theory.play import descend
from steadystep.optimizers import Adam

LR, BETA1, BETA2, EPS = 0.01, 0.9, 0.999, 1e-8
LIMIT = 1e6


@njit(error_model="numpy")
def printed(gradient, draws, x):
    """Run the printed rule and return the parameter after each step.

    The rule is theta = theta - alpha * (m / (sqrt(v) + eps)) * gradient, with the moments of Adam and no bias
    correction.
    """
    m, v, path = 0.0, 0.0, np.empty(len(draws))
    for k in range(len(draws)):
        g = gradient(x, draws[k])
        m = BETA1 * m + (1 - BETA1) * g
        v = BETA2 * v + (1 - BETA2) * g * g
        x = x - LR * (m / (math.sqrt(v) + EPS)) * g
        path[k] = x
    return path


@njit
def parabola(x, draw):
    """Return the gradient of x^2 / 2."""
    return x


@njit
def sampled(x, draw):
    """Return the random draw itself as the gradient."""
    return draw


def check(progress: Progress) -> Evidence:
    """Run the printed rule and Adam's own rule on a parabola, and the printed rule on gradients of one sign."""
    no_draws = np.zeros(2_000)
    above, below = printed(parabola, no_draws, 1.0), printed(parabola, no_draws, -1.0)
    escaped = int(np.argmax(np.abs(below) > LIMIT)) + 1

    rng = np.random.default_rng(0)
    sequences = np.abs(rng.normal(size=(500, 200))) * 10 ** rng.uniform(-3, 3, (500, 1))
    paths = [printed(sampled, sign * row, 0.0) for row in sequences for sign in (1, -1)]
    rises = sum(int((np.diff(path, prepend=0.0) > 0).sum()) for path in paths)
    rule = Adam.rule({"variant": "torch", "amsgrad": False})
    hyper = {"lr": LR, "beta1": BETA1, "beta2": BETA2, "eps": EPS}
    ours = [float(descend(rule, parabola, no_draws, hyper, p=p)[-1]) for p in (1.0, -1.0)]
    return Evidence(
        (
            Finding(
                f"From x = -1 on x²/2, it moves towards 0 (it is beyond 10⁶ at step {escaped})",
                abs(below[-1]) < 1,
            ),
            Finding(
                f"Of {sequences.size * 2:,} steps on gradients of one sign, positive or negative, none increases the "
                f"parameter, because m·g is never negative ({rises} did)",
                rises == 0,
                "instead",
            ),
            Finding(
                f"From x = +1 on x²/2, it slows down: x falls in every step and is {above[-1]:.4f}, still above 0, "
                "after 2,000 steps",
                0 < above[-1] < 1 and bool((np.diff(above) < 0).all()),
                "instead",
            ),
            Finding(
                f"Adam's actual rule comes within one learning rate of 0 from both sides ({ours[0]:.1e}, "
                f"{ours[1]:.1e})",
                max(map(abs, ours)) < LR,
                "instead",
            ),
        ),
        (Measurement("first step beyond 10⁶ from x = -1", escaped, "204"),),
    )


CLAIM = Claim(
    id="printed-adam",
    title="Adam as printed in the paper",
    statement=r"$\theta \leftarrow \theta - \alpha \, \frac{m}{\sqrt v + \epsilon} \, \nabla L(\theta)$ descends. "
    "(Instead: whenever m and the gradient have the same sign, their product is positive and the parameter decreases.)",
    source="The paper, Methodology; Kingma & Ba (2015), Algorithm 1, has no such factor",
    check=check,
)
