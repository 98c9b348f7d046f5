"""The factor that rectifies the variance of Adam's adaptive learning rate (Liu et al. 2020, section 4)."""

from steadystep.tracing.ops import Number, maximum, sqrt, where


def length(t: Number, beta2: Number) -> Number:
    r"""\rho_t = \rho_\infty - 2 t \beta_2^t / (1-\beta_2^t), the length of the average that v_t amounts to."""
    decayed = beta2**t
    return 2 / (1 - beta2) - 1 - 2 * t * decayed / (1 - decayed)


def rectification(t: Number, beta2: Number) -> Number:
    r"""r_t^2 = (\rho_t-4)(\rho_t-2)\rho_\infty / ((\rho_\infty-4)(\rho_\infty-2)\rho_t); 0 while \rho_t <= 4."""
    longest = 2 / (1 - beta2) - 1
    longest = where(longest > 4, longest, 5.0)  # else no average is ever long enough: rho stays 4, and r 0
    rho = maximum(length(t, beta2), 4.0)
    return sqrt((rho - 4) * (rho - 2) * longest / ((longest - 4) * (longest - 2) * rho))
