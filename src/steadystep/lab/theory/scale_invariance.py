"""Adam is invariant to the scale of its gradients, and therefore to the clipping threshold."""

from dataclasses import dataclass

import torch

from steadystep.clipping import ClipNorm
from steadystep.lab.theory.claim import Claim, Evidence, Finding, Progress
from steadystep.optimizers import Adam

STEPS = 200
LR = 0.01


@dataclass(frozen=True)
class Run:
    """The trajectory of an optimization run, and the share of its steps that were clipped."""

    path: torch.Tensor  # (STEPS, 20)
    clip_rate: float

    def distance(self, other: "Run") -> float:
        """Return the largest absolute difference between two trajectories."""
        return float((self.path - other.path).abs().max())


def _run(dtype: torch.dtype, eps: float, clip: ClipNorm | None, normalise: bool = False) -> Run:
    """Run Adam on a steep quadratic whose gradient norm stays far above 1."""
    curvatures = torch.logspace(1, 3, 20, dtype=dtype)
    weight = torch.full((20,), 5.0, dtype=dtype, requires_grad=True)
    optimizer = Adam([weight], lr=LR, eps=eps, clip=clip)
    path = torch.empty(STEPS, 20, dtype=dtype)
    for k in range(STEPS):
        gradient = curvatures * weight.detach() + torch.sin(torch.arange(20, dtype=dtype) * (k + 1))
        weight.grad = gradient * (1.0 / torch.linalg.vector_norm(gradient.double())) if normalise else gradient
        weight.grad = weight.grad.to(dtype)
        optimizer.step()
        path[k] = weight.detach()
    return Run(path, optimizer.ledger["clip_rate"])


def check(progress: Progress) -> Evidence:
    """Compare trajectories of Adam clipped at different thresholds, with eps = 0 and with the default eps."""
    one, small, tiny = ClipNorm(1.0), ClipNorm(2.0**-6), ClipNorm(1e-7)
    pairs = [(_run(dtype, 0.0, one), _run(dtype, 0.0, small)) for dtype in (torch.float32, torch.float64)]
    progress(0.4)
    wide = torch.float64
    reference, odd = _run(wide, 0.0, one), _run(wide, 0.0, tiny)
    normalised, unclipped = _run(wide, 0.0, None, normalise=True), _run(wide, 0.0, None)
    progress(0.8)
    default = _run(wide, 1e-8, one), _run(wide, 1e-8, tiny)
    clipped = all(run.clip_rate == 1.0 for run in (reference, odd, *default, *sum(pairs, ())))
    rounding, same = odd.distance(reference), normalised.distance(reference)
    apart, broken = unclipped.distance(reference) / LR, default[0].distance(default[1]) / LR
    return Evidence(
        (
            Finding(
                f"With eps = 1e-8, thresholds 1e-7 and 1 give the same trajectory (they are up to {broken:.3g} "
                "learning rates apart)",
                broken < 1e-6,
            ),
            Finding(
                "With eps = 0, thresholds 1 and 2^-6 give bitwise equal trajectories, in float32 and in float64",
                clipped and all(torch.equal(a.path, b.path) for a, b in pairs),
                "assuming",
            ),
            Finding(
                f"With eps = 0, thresholds 1 and 1e-7 differ only by rounding ({rounding:.1e}, tolerance 1e-12)",
                rounding < 1e-12,
                "assuming",
            ),
            Finding(
                f"The trajectory is that of Adam on normalised gradients (within {same:.1e}, tolerance 1e-12)",
                same < 1e-12,
                "assuming",
            ),
            Finding(
                f"The trajectory is not that of unclipped Adam, which is up to {apart:.3g} learning rates away",
                apart > 1.0,
                "assuming",
            ),
        )
    )


CLAIM = Claim(
    id="scale-invariance",
    title="Clipped Adam is invariant to the threshold",
    statement="If every step is clipped by norm, Adam's trajectory does not depend on the threshold: it is Adam on "
    r"$g_t / \lVert g_t \rVert$, not unclipped Adam.",
    source="Kingma & Ba (2015), section 2.1: steps are invariant to the scale of the gradient",
    assumptions=(
        r"$\epsilon = 0$: otherwise thresholds of the order of $\epsilon$ shorten the steps",
        "every step is clipped",
    ),
    check=check,
)
