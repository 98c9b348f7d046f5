"""Gradients that are clipped at the wrong place: while they are scaled or not yet complete, or not the optimizer's."""

import torch

from steadystep.diagnosis.case import Case
from steadystep.diagnosis.changes import Change, clipped
from steadystep.diagnosis.classes.gradients_of_steps import Pair, cosine, given_gradients
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.race import try_fix
from steadystep.diagnosis.run import Run
from steadystep.recorder.state import put_back_rng, take_rng

SAME = 0.999
STEADY = 0.02


def investigate(case: Case, compared: list[Pair]) -> Finding | None:
    """Ask whether the norm of clipped gradients depends on the scale of the loss, which it must not."""
    clipped = [pair for pair in compared if float(pair.given.norm() / pair.fresh.norm()) < 1 - STEADY]
    if len(clipped) < 3 or any(cosine(pair.given, pair.fresh) < SAME for pair in clipped):
        return None
    norm = float(clipped[0].given.norm())
    for scale in case.run.scales():
        case.run.put_back(case.start)
        value = scale.read()
        halved = Change("half the scale", begin=lambda run, scale=scale, value=value: scale.write(value / 2))
        given = given_gradients(case, case.start, len(compared), halved).get(clipped[0].index)
        ratio = 1.0 if given is None else float(given.norm()) / norm
        case.run.put_back(case.start)
        if abs(ratio - 2) > 2 * STEADY:
            case.note(f"the scale {value:g} halved", "the norm of the clipped gradients does not double", True)
            continue
        told = f"the norm of the clipped gradients doubles, {norm:.3g} -> {norm * ratio:.3g}"
        case.note(f"the scale {value:g} halved", told, False)
        return _finding(case, value, norm, float(clipped[0].fresh.norm()))
    return None


def investigate_unbound(case: Case) -> Finding | None:
    """Ask whether the run holds if the clipping that its step asks for is done to what the optimizer is given."""
    clipping = case.own_step.unbound if case.own_step is not None else None
    if clipping is None:
        return None
    words = f"clip the gradients of the optimizer's parameters to {clipping.max_norm:g} right before optimizer.step()"
    fix = Fix(words, (clipped(clipping.max_norm),))
    tried = try_fix(case, fix)
    case.note(f"the optimizer's gradients clipped to {clipping.max_norm:g}", tried.words, tried.holds)
    if not tried.holds:
        return None
    why = "more gradients are added after it"
    if clipping.is_last:
        why = "it is given " + ("none" if clipping.share == 0 else f"{clipping.share:.0%}") + " of its parameters"
    return Finding(
        "clip-order",
        "clip_grad_norm_",
        case.first,
        f"clip_grad_norm_ is called with max_norm {clipping.max_norm:g}, but the optimizer gets larger ones: {why}",
        (fix,),
    )


def _finding(case: Case, scale: float, norm: float, true: float) -> Finding:
    max_norm = norm * scale
    return Finding(
        "clip-order",
        "clip_grad_norm_ before scaler.unscale_",
        case.first,
        f"gradients are clipped to {max_norm:.3g} while they are still multiplied by the scale {scale:g}: "
        f"the optimizer gets gradients of norm {norm:.2g} instead of {min(max_norm, true):.2g}",
        (Fix("call scaler.unscale_(optimizer) before the gradients are clipped", (_in_order(max_norm),)),),
    )


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
