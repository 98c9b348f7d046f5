"""The variance rectification of RAdam (Liu et al. 2020, section 4), used by RAdam, AdaBelief and LAMB."""

import math


def rho(b2: float, t: int) -> float:
    """Return the length of the approximated moving average at step t.

    It is rho_inf - 2*t*b2^t/(1-b2^t), with rho_inf = 2/(1-b2) - 1.
    """
    return 2 / (1 - b2) - 1 - 2 * t * b2**t / (1 - b2**t)


def rectifier(b2: float, t: int) -> float:
    """Return r_t = sqrt((rho_t-4)(rho_t-2)rho_inf / ((rho_inf-4)(rho_inf-2)rho_t)), for rho_t > 4 only."""
    end, now = 2 / (1 - b2) - 1, rho(b2, t)
    return math.sqrt((now - 4) * (now - 2) * end / ((end - 4) * (end - 2) * now))
