"""Gradients that are clipped while they are still multiplied by the scale of a GradScaler."""

import statistics

import torch

from steadystep.diagnosis.case import Case
from steadystep.diagnosis.changes import Change
from steadystep.diagnosis.classes.gradients_of_steps import Pair, cosine, given_gradients
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.run import Run
from steadystep.recorder.state import put_back_rng, take_rng

SAME = 0.999
STEADY = 0.02


def investigate(case: Case, compared: list[Pair]) -> Finding | None:
    """Ask whether the norm of clipped gradients depends on the scale, which it must not."""
    scaler = case.run.scaler
    if scaler is None or len(compared) < 3 or not scaler.is_enabled():
        return None
    clipped = [pair for pair in compared if float(pair.given.norm() / pair.fresh.norm()) < 1 - STEADY]
    if len(clipped) < 3 or any(cosine(pair.given, pair.fresh) < SAME for pair in clipped):
        return None
    norms = [float(pair.given.norm()) for pair in clipped]
    case.run.put_back(case.start)
    scale = float(scaler.get_scale())
    other = given_gradients(case, case.start, len(compared), _scaled(0.5))
    ratios = [float(other[pair.index].norm() / pair.given.norm()) for pair in clipped[:1] if pair.index in other]
    if not ratios or abs(ratios[0] - 2) > 2 * STEADY:
        case.note("the scale of the GradScaler halved", "the clipped norm does not change", True)
        return None
    max_norm = statistics.median(norms) * scale
    case.note(
        "the scale of the GradScaler halved",
        f"the clipped norm doubles, {norms[0]:.3g} -> {norms[0] * ratios[0]:.3g}: it was {max_norm:.3g} / {scale:g}",
        False,
    )
    right = min(max_norm, float(clipped[0].fresh.norm()))
    return Finding(
        "clip-order",
        "clip_grad_norm_ before scaler.unscale_",
        case.first,
        f"gradients are clipped to {max_norm:.3g} while they are still multiplied by the scale {scale:g}: "
        f"the optimizer gets gradients of norm {norms[0]:.2g} instead of {right:.2g}",
        (Fix("call scaler.unscale_(optimizer) before the gradients are clipped", (_in_order(max_norm),)),),
    )


def _scaled(factor: float) -> Change:
    def begin(run: Run) -> None:
        saved = run.scaler.state_dict()
        run.scaler.load_state_dict({**saved, "scale": saved["scale"] * factor})

    return Change("another scale", begin=begin)


def _in_order(max_norm: float) -> Change:
    """Give the optimizer the gradients of the batch, clipped after unscaling."""

    def clip(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        kept = {name: parameter.grad for name, parameter in run.parameters()}
        rng = take_rng()
        for parameter in run.model.parameters():
            parameter.grad = None
        buffers = {name: buffer.clone() for name, buffer in run.model.named_buffers()}
        run.loss(run.batch(index)).backward()
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), max_norm)
        with torch.no_grad():
            for name, buffer in run.model.named_buffers():
                buffer.copy_(buffers[name])
            for name, parameter in run.parameters():
                given, clipped = kept[name], parameter.grad
                if given is not None and clipped is not None:
                    given.copy_(clipped)
                parameter.grad = given
        put_back_rng(rng)

    return Change("clipped after unscaling", gradients=clip)
