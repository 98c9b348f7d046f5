"""Scalar references of the clippers: `step(grads)` gives the clipped gradients and the verdict.

Gradients are a list of tensors, each a flat row-major list of floats, or None where there is no gradient.

The verdict, the same for all: a step is refused if a gradient is not finite (judged raw), if the norm of
finite gradients overflows float64, or if the square of a clipped gradient overflows `largest`, the greatest
number of the moments' dtype. A refused step returns its gradients as they came and changes no statistic; the
one thing that a refusal moves is SkipOutlier's count of its own refusals in a row.
"""

import math
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

Tensor = list[float]
Grads = list[Tensor | None]


def norm(grads: Sequence[Tensor | None]) -> float:
    """The Euclidean norm over all tensors together; 0 if there is no gradient at all."""
    return math.hypot(*(x for g in grads if g is not None for x in g))


def scaled(g: Tensor, scale: float) -> Tensor:
    return list(g) if scale == 1 else [x * scale for x in g]


def bounded(length: float, limit: float) -> float:
    """min(1, limit/length): exact, and 1 for a zero vector."""
    return 1.0 if length <= limit else limit / length


def percentile(values: Sequence[float], p: float) -> float:
    """The p-th percentile with linear interpolation: the order statistic of rank p/100*(n-1), from 0."""
    ordered = sorted(values)
    rank = p / 100 * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (rank - low) * (ordered[high] - ordered[low])


def update_scale(update: Tensor, max_rms: float = 1.0) -> float:
    """ClipUpdate, per tensor: min(1, c/RMS(update)): Adafactor's update clipping (Shazeer and Stern 2018).

    Decision: `update` is the rule's direction before the learning rate multiplies it, as in Adafactor.
    """
    return bounded(math.sqrt(math.fsum(x * x for x in update) / len(update)), max_rms)


class Clipper:
    """Decides without a trace; the state that a decision would leave is kept only if the step is applied."""

    state: Any = None
    largest: float = sys.float_info.max

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        """The clipped gradients, the verdict, and the state if the step is applied."""
        raise NotImplementedError

    def refused(self) -> None:
        """Called when this clipper's own verdict was to refuse."""

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

    Scope "global": one norm; "group": one for each of `groups` (tensor indices); "parameter": one per tensor.
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
    """g * c/(norm + c), the global norm (the smooth form of Zhang, He, Sra, Jadbabaie 2020)."""

    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def decide(self, grads: Grads, weights: list[Tensor] | None) -> tuple[Grads, bool, Any]:
        return rescaled(grads, self.max_norm / (norm(grads) + self.max_norm)), True, None


class AGC(Clipper):
    """Per unit: if norm(g_u) > l*max(norm(w_u), floor), g_u is cut to that bound (Brock et al. 2021, eq. 3).

    `shapes` gives the units: each index of dimension 0 is one (torch's layout), a tensor of one dimension or
    none is whole. Decision: dimensions are counted as they are, so (n, 1) has n units (the authors' code
    squeezes it to a vector). `exclude` holds tensor indices.
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
    """Clips at the p-th percentile of the raw norms of accepted steps (Seetharaman et al. 2020, AutoClip).

    Over the last `window` norms, the present one among them; norms of 0 count as any other.
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
    """If z = (n - mu)/(sd + 1e-6) > 2.5, the norm is cut to c = mu + 2.5*sd/(z/2.5) (Kumar et al. 2025).

    mu and sd^2 are the mean and the population variance of the first `warmup` accepted norms, taken at the
    end of the last of them; from then on mu = .97*mu + .03*n', then sd^2 = .97*sd^2 + .03*(n' - mu)^2 about
    the new mu, where n' is c if z > 2.5 and n otherwise. `max_norm` caps the norm in the warm-up and afterwards.
    Decision, as in the authors' code: warm-up norms are raw, and n' is taken before that cap.
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
        kept = mean + self.threshold * sd / (z / self.threshold) if z > self.threshold else n
        new_mean = self.alpha * mean + (1 - self.alpha) * kept
        new_variance = self.alpha * variance + (1 - self.alpha) * (kept - new_mean) ** 2
        limit = min(kept, self.max_norm)
        return rescaled(grads, bounded(n, limit)), True, ZState((), new_mean, new_variance)


class AdaGCState(NamedTuple):
    steps: int = 0
    gammas: tuple[float | None, ...] = ()


class AdaGC(Clipper):
    """Per-tensor clipping against the EMA of the tensor's own clipped norms (Wang et al. 2025, Algorithm 1).

    The first `warmup` accepted steps: global clip at `max_norm`, gamma = min(gamma, clipped norm) over the
    non-zero norms. Then h = min(1, 1.05*gamma/norm), gamma = max(.98*gamma + .02*h*norm, 1e-8).

    Decisions: the floor 1e-8 acts on gammas set after the warm-up, not on the warm-up's minimum; a tensor
    that has had no non-zero norm is not clipped, and its first one after the warm-up becomes its gamma; a
    zero norm after the warm-up enters the EMA; without a gradient a tensor's gamma stays.
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
    """Refuses if norm > median + k*max(1.4826*MAD, 1e-3*median) of the accepted norms in a window.

    Active once `active_after` norms have been accepted. After `max_refusals` outliers refused in a row the
    next one is accepted, and its norm recorded, or RuntimeError is raised, as `then` says. An accepted step
    sets the count back; a step refused for another reason leaves it.
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
        """The largest norm that is no outlier; infinite while the rule is not active."""
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
    """Clippers in a row, each reading what the one before it left; all keep their state or none does."""

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
