"""Scalar references of the clippers: `step(grads)` returns the clipped gradients and whether the step is accepted.

Gradients are a list of tensors, each a flat row-major list of floats, or None where there is no gradient.

All clippers refuse a step by the same rules: if a raw gradient is not finite, if the norm of finite gradients
overflows float64, or if the square of a clipped gradient overflows `largest`, the largest number of the moments'
dtype. A refused step returns its gradients unchanged and changes no statistic. The only thing that a refusal
changes is SkipOutlier's count of its consecutive refusals.
"""

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Tensor = list[float]
Grads = list[Tensor | None]


def norm(grads: Sequence[Tensor | None]) -> float:
    """Return the Euclidean norm over all tensors together, or 0 if there are no gradients."""
    return math.hypot(*(x for g in grads if g is not None for x in g))


def scaled(g: Tensor, scale: float) -> Tensor:
    return list(g) if scale == 1 else [x * scale for x in g]


def bounded(length: float, limit: float) -> float:
    """Return min(1, limit/length): exact, and 1 for a zero vector."""
    return 1.0 if length <= limit else limit / length


def percentile(values: Sequence[float], p: float) -> float:
    """Return the p-th percentile with linear interpolation: the order statistic of rank p/100*(n-1), counted from 0."""
    ordered = sorted(values)
    rank = p / 100 * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (rank - low) * (ordered[high] - ordered[low])


def update_scale(update: Tensor, max_rms: float = 1.0) -> float:
    """Return ClipUpdate's factor for a tensor: min(1, c/RMS(update)).

    This is Adafactor's update clipping (Shazeer and Stern 2018).
    Decision: `update` is the rule's direction before it is multiplied by the learning rate, as in Adafactor.
    """
    return bounded(math.sqrt(math.fsum(x * x for x in update) / len(update)), max_rms)


class Clipper:
    """A clipper whose decision has no side effect: its new state is stored only if the step is applied."""

    state: Any = None
    largest: float = sys.float_info.max

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        """Return the clipped gradients, whether to accept the step, and the state after the step if it is applied."""
        raise NotImplementedError

    def refused(self) -> None:
        """Update the state after this clipper has refused a step."""

    def step(self, grads: Grads, weights: list[Tensor] | None = None) -> tuple[Grads, bool]:
        present = [x for g in grads if g is not None for x in g]
        if not all(map(math.isfinite, present)) or not math.isfinite(norm(grads)):
            return grads, False
        clipped, accepted, after = self.decide(grads, weights)
        if not accepted:
            self.refused()
            return grads, False
        if any(x * x > self.largest for g in clipped if g is not None for x in g):
            return grads, False
        self.state = after
        return clipped, True


def rescaled(grads: Grads, scale: float) -> Grads:
    return [None if g is None else scaled(g, scale) for g in grads]


class ClipNorm(Clipper):
    """g * min(1, c/norm) (Pascanu, Mikolov, Bengio 2013, Algorithm 1).

    Scope "global": one norm; "group": one norm for each of `groups` (tensor indices); "parameter": one per tensor.
    """

    def __init__(self, max_norm: float, scope: str = "global", groups: Sequence[Sequence[int]] | None = None) -> None:
        self.max_norm, self.scope, self.groups = max_norm, scope, groups

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        members = {
            "global": [range(len(grads))],
            "group": self.groups or [],
            "parameter": [[j] for j in range(len(grads))],
        }[self.scope]
        clipped: Grads = list(grads)
        for group in members:
            scale = bounded(norm([grads[j] for j in group]), self.max_norm)
            for j in group:
                g = grads[j]
                clipped[j] = None if g is None else scaled(g, scale)
        return clipped, True, None


class ClipValue(Clipper):
    """clamp(g, -c, c), per element."""

    def __init__(self, max_value: float) -> None:
        self.max_value = max_value

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        c = self.max_value
        return [None if g is None else [min(max(x, -c), c) for x in g] for g in grads], True, None


class SmoothClip(Clipper):
    """g * c/(norm + c), with the global norm (the smooth form of Zhang, He, Sra, Jadbabaie 2020)."""

    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        return rescaled(grads, self.max_norm / (norm(grads) + self.max_norm)), True, None


class AGC(Clipper):
    """Per unit: if norm(g_u) > l*max(norm(w_u), floor), g_u is scaled to that bound (Brock et al. 2021, eq. 3).

    `shapes` determines the units: each index of dimension 0 is one unit (torch's layout); a tensor of one
    dimension or none is a single unit. Decision: dimensions of size 1 count, so (n, 1) has n units (the authors'
    code squeezes it to a vector). `exclude` contains tensor indices.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        limit: float = 0.01,
        exclude: Sequence[int] = (),
        floor: float = 1e-3,
    ) -> None:
        self.shapes, self.limit, self.exclude, self.floor = shapes, limit, exclude, floor

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        if weights is None:
            raise ValueError("AGC needs the weights")
        clipped: Grads = []
        for j, g in enumerate(grads):
            if g is None or j in self.exclude:
                clipped.append(g)
                continue
            shape = self.shapes[j]
            size = math.prod(shape[1:]) if len(shape) > 1 else math.prod(shape)
            new: Tensor = []
            for start in range(0, len(g), size):
                unit, w = g[start : start + size], weights[j][start : start + size]
                bound = self.limit * max(math.hypot(*w), self.floor)
                new += scaled(unit, bounded(math.hypot(*unit), bound))
            clipped.append(new)
        return clipped, True, None


class AutoClip(Clipper):
    """Clipping at the p-th percentile of the raw norms of accepted steps (Seetharaman et al. 2020, AutoClip).

    The percentile is over the last `window` norms, the current one included; norms of 0 count like any other.
    """

    def __init__(self, p: float = 10.0, window: int = 1000) -> None:
        self.p, self.window = p, window
        self.state: tuple[float, ...] = ()

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        length = norm(grads)
        history = (*self.state, length)[-self.window :]
        return rescaled(grads, bounded(length, percentile(history, self.p))), True, history


class ZState(NamedTuple):
    norms: tuple[float, ...] = ()
    mean: float | None = None
    variance: float = 0.0


class ZClip(Clipper):
    """If z = (n - mu)/(sd + 1e-6) > 2.5, the norm is reduced to c = mu + 2.5*sd/(z/2.5) (Kumar et al. 2025).

    mu and sd^2 are the mean and the population variance of the first `warmup` accepted norms, computed after
    the last of them. From then on mu = .97*mu + .03*n', then sd^2 = .97*sd^2 + .03*(n' - mu)^2 about the new
    mu, where n' is c if z > 2.5 and n otherwise. `max_norm` caps the norm during the warm-up and afterwards.
    Decision, as in the authors' code: the norms of the warm-up are raw, and n' is the value before that cap.
    """

    def __init__(
        self, threshold: float = 2.5, alpha: float = 0.97, warmup: int = 25, max_norm: float | None = None
    ) -> None:
        self.threshold, self.alpha, self.warmup = threshold, alpha, warmup
        self.max_norm = math.inf if max_norm is None else max_norm
        self.state = ZState()

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        n = norm(grads)
        norms, mean, variance = self.state
        if mean is None:
            norms = (*norms, n)
            after = ZState(norms)
            if len(norms) == self.warmup:
                mean = math.fsum(norms) / len(norms)
                after = ZState((), mean, math.fsum((x - mean) ** 2 for x in norms) / len(norms))
            return rescaled(grads, bounded(n, self.max_norm)), True, after
        sd = math.sqrt(variance)
        z = (n - mean) / (sd + 1e-6)
        accepted = mean + self.threshold * sd / (z / self.threshold) if z > self.threshold else n
        new_mean = self.alpha * mean + (1 - self.alpha) * accepted
        new_variance = self.alpha * variance + (1 - self.alpha) * (accepted - new_mean) ** 2
        limit = min(accepted, self.max_norm)
        return rescaled(grads, bounded(n, limit)), True, ZState((), new_mean, new_variance)


class AdaGCState(NamedTuple):
    steps: int = 0
    gammas: tuple[float | None, ...] = ()


class AdaGC(Clipper):
    """Per-tensor clipping against the EMA of the tensor's clipped norms (Wang et al. 2025, Algorithm 1).

    In the first `warmup` accepted steps: global clipping at `max_norm`, gamma = min(gamma, clipped norm) over
    the non-zero norms. Then h = min(1, 1.05*gamma/norm), gamma = max(.98*gamma + .02*h*norm, 1e-8).

    Decisions: the floor 1e-8 applies to gammas set after the warm-up, not to the minimum of the warm-up. A
    tensor that has had no non-zero norm is not clipped; its first non-zero norm after the warm-up becomes its
    gamma. A zero norm after the warm-up enters the EMA. A tensor without a gradient keeps its gamma.
    """

    def __init__(
        self,
        ratio: float = 1.05,
        beta: float = 0.98,
        warmup: int = 100,
        max_norm: float = 1.0,
        floor: float = 1e-8,
    ) -> None:
        self.ratio, self.beta, self.warmup = ratio, beta, warmup
        self.max_norm, self.floor = max_norm, floor
        self.state = AdaGCState()

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        steps = self.state.steps
        gammas = list(self.state.gammas) or [None] * len(grads)
        if steps < self.warmup:
            clipped = rescaled(grads, bounded(norm(grads), self.max_norm))
            for j, g in enumerate(clipped):
                length, gamma = norm([g]), gammas[j]
                if length > 0:
                    gammas[j] = length if gamma is None else min(gamma, length)
            return clipped, True, AdaGCState(steps + 1, tuple(gammas))
        clipped = list(grads)
        for j, g in enumerate(grads):
            if g is None:
                continue
            length, gamma = norm([g]), gammas[j]
            if gamma is None:
                gammas[j] = max(length, self.floor) if length > 0 else None
                continue
            h = bounded(length, self.ratio * gamma)
            clipped[j] = scaled(g, h)
            gammas[j] = max(self.beta * gamma + (1 - self.beta) * h * length, self.floor)
        return clipped, True, AdaGCState(steps + 1, tuple(gammas))


class OutlierState(NamedTuple):
    norms: tuple[float, ...] = ()
    refusals: int = 0


class SkipOutlier(Clipper):
    """Skip a step if norm > median + k*max(1.4826*MAD, 1e-3*median) of the accepted norms in a window.

    The rule is active once `active_after` norms have been accepted. After `max_refusals` consecutive refused
    outliers, the next one is either accepted and its norm recorded, or a RuntimeError is raised, depending on
    `then`. An accepted step resets the count; a step refused for another reason does not change it.
    Decision: the median of an even number of values is the mean of the middle two.
    """

    def __init__(
        self,
        k: float = 6.0,
        window: int = 128,
        active_after: int = 64,
        *,
        max_refusals: int,
        then: str = "accept",
    ) -> None:
        self.k, self.window, self.active_after = k, window, active_after
        self.max_refusals, self.then = max_refusals, then
        self.state = OutlierState()

    def threshold(self) -> float:
        """Return the largest norm that is not an outlier, or infinity while the rule is not active."""
        norms = self.state.norms
        if len(norms) < self.active_after:
            return math.inf
        median = percentile(norms, 50)
        mad = percentile([abs(x - median) for x in norms], 50)
        return median + self.k * max(1.4826 * mad, 1e-3 * median)

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        length = norm(grads)
        after = OutlierState((*self.state.norms, length)[-self.window :])
        if length > self.threshold():
            if self.state.refusals < self.max_refusals:
                return grads, False, None
            if self.then == "raise":
                raise RuntimeError(f"{self.max_refusals} outliers refused in a row")
        return list(grads), True, after

    def refused(self) -> None:
        self.state = self.state._replace(refusals=self.state.refusals + 1)


class Chain(Clipper):
    """A sequence of clippers, each applied to the output of the previous one; all store their state or none does."""

    def __init__(self, *clippers: Clipper) -> None:
        self.clippers = clippers
        self.refuser: Clipper | None = None

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        self.refuser = None
        states = []
        for clipper in self.clippers:
            grads, accepted, after = clipper.decide(grads, weights)
            if not accepted:
                self.refuser = clipper
                return grads, False, None
            states.append(after)
        return grads, True, states

    def refused(self) -> None:
        if self.refuser is not None:
            self.refuser.refused()

    def step(self, grads: Grads, weights: list[Tensor] | None = None) -> tuple[Grads, bool]:
        clipped, accepted = super().step(grads, weights)
        if accepted:
            for clipper, after in zip(self.clippers, self.state, strict=True):
                clipper.state = after
        return clipped, accepted


REFERENCES: dict[str, Callable[..., Any]] = {kind.__name__: kind for kind in Clipper.__subclasses__()} | {
    "ClipUpdate": update_scale  # it clips the update, not the gradients
}
"""Every reference, by the class name of its clipper."""
