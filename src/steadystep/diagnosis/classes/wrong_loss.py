"""A loss that is put together wrongly: softmax twice, all labels ignored, shapes that broadcast, a detached graph."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from steadystep.diagnosis.case import Case
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.edits import edited, without
from steadystep.diagnosis.operations import Call, Edit, Place, Seen
from steadystep.diagnosis.race import Tried, try_fix

GAIN = 0.1
_RESHAPES = frozenset(
    (
        "view", "reshape", "flatten", "permute", "transpose", "squeeze", "unsqueeze", "contiguous", "float", "to", "t",
        "swapaxes", "clone", "getitem", "T", "mT", "movedim", "type",
    )
)  # fmt: skip
_LOSSES_OF_EQUAL_SHAPES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy_with_logits")


@dataclass(frozen=True)
class Wrong:
    """What is put together wrongly, where, how it is called rightly, and what to do."""

    place: Place
    sentence: str
    words: str
    edits: dict[Place, Edit]
    must_gain: bool = False
    """Whether it can be meant, so that it is wrong only if the run learns clearly more without it."""


def _gains(case: Case, tried: Tried) -> bool:
    """Whether a fix ends clearly lower than the run does."""
    if case.recorded.error is not None or case.recorded.broken is not None:
        return True
    return case.reference(case.good_moments()[-1]) - tried.after > GAIN * case.level


def investigate(case: Case) -> Finding | None:
    """Look at one pass of the start's weights, and ask whether the run learns more with the loss put right."""
    probe = case.probe(case.start, case.run.batch(case.first), look=True)
    wrong = next(
        (
            found
            for look in (_composed_twice, _not_log_probabilities, _broadcast, _detached)
            if (found := look(case, probe.seen)) is not None
        ),
        None,
    )
    if wrong is None:
        return _all_ignored(case, probe.seen)
    fix = Fix(wrong.words, (edited(wrong.edits, wrong.words),))
    tried = try_fix(case, fix, progress=True)
    case.note(wrong.words, tried.words, tried.holds)
    if not tried.holds or (wrong.must_gain and not _gains(case, tried)):
        return None
    return Finding("wrong-loss", str(wrong.place), case.first, wrong.sentence, (fix,))


def _producer(seen: Seen, tensor: Any) -> Call | None:
    """Return the call that has made a tensor, looking through changes of its shape."""
    made = {id(call.result): call for call in seen.calls if isinstance(call.result, torch.Tensor)}
    for _ in range(20):
        call = made.get(id(tensor))
        if call is None or call.place.function not in _RESHAPES or not call.arguments:
            return call
        tensor = call.arguments[0]
    return None


def _composed_twice(case: Case, seen: Seen) -> Wrong | None:
    pairs = {
        "cross_entropy": ("softmax", "log_softmax", "sigmoid"),
        "log_softmax": ("softmax", "sigmoid"),
        "binary_cross_entropy_with_logits": ("sigmoid", "softmax"),
    }
    for call in seen.calls:
        if call.place.function not in pairs or not call.arguments:
            continue
        inner = _producer(seen, call.arguments[0])
        if inner is None or inner.place.function not in pairs[call.place.function]:
            continue
        if inner.place.function == "log_softmax":
            continue  # a second log_softmax changes nothing
        if call.place.function == "log_softmax" and not _is_the_loss_part(seen, call):
            continue
        return Wrong(
            inner.place,
            f"{inner.place.words} is applied before {call.place.function} ({call.place.line}), which applies one "
            "itself",
            f"leave {inner.place.function} out: {call.place.function} takes logits",
            {inner.place: without()},
        )
    return None


def _is_the_loss_part(seen: Seen, call: Call) -> bool:
    """Whether a log_softmax feeds a likelihood."""
    return any(
        later.place.function in ("nll_loss", "gather")
        and later.arguments
        and _producer(seen, later.arguments[0]) is call
        for later in seen.calls
    )


def _not_log_probabilities(case: Case, seen: Seen) -> Wrong | None:
    for call in seen.calls:
        if call.place.function != "nll_loss" or not call.arguments:
            continue
        given = call.arguments[0].detach().float()
        sums = given.logsumexp(1)
        if float(sums.abs().median()) < 1e-2:
            continue
        inner = _producer(seen, call.arguments[0])
        is_probability = bool((given >= 0).all()) and float((given.sum(1) - 1).abs().max()) < 1e-3
        what = "probabilities" if is_probability else "logits"

        def right(
            func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], log: bool = is_probability
        ) -> Any:
            first = args[0].clamp_min(1e-12).log() if log else args[0].log_softmax(1)
            return func(first, *args[1:], **kwargs)

        place = inner.place if inner is not None and inner.place.module else call.place
        source = f" from {inner.place.words}" if inner is not None else ""
        return Wrong(
            place,
            f"nll_loss ({call.place.line}) gets {what}{source}, and takes log-probabilities",
            "use log_softmax before nll_loss, or cross_entropy on the logits",
            {call.place: right},
        )
    return None


def _broadcast(case: Case, seen: Seen) -> Wrong | None:
    for call in seen.calls:
        if len(call.arguments) < 2 or not all(isinstance(each, torch.Tensor) for each in call.arguments[:2]):
            continue
        one, other = call.arguments[:2]
        outer = (
            one.shape != other.shape
            and torch.broadcast_shapes(one.shape, other.shape).numel() > max(one.numel(), other.numel())
            if _fit(one, other)
            else False
        )
        if not outer or one.numel() != other.numel():
            continue
        if call.place.function not in (*_LOSSES_OF_EQUAL_SHAPES, "sub", "rsub"):
            continue
        if call.place.module and not call.place.function.endswith("loss"):
            continue

        def right(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return func(args[0], args[1].reshape(args[0].shape), *args[2:], **kwargs)

        shape = tuple(torch.broadcast_shapes(one.shape, other.shape))
        return Wrong(
            call.place,
            f"{call.place.function} ({call.place.line}) gets shapes {tuple(one.shape)} and {tuple(other.shape)}, which "
            f"broadcast to {shape}: every prediction is compared with every target",
            f"give the target the shape of the prediction, {tuple(one.shape)}",
            {call.place: right},
        )
    return None


def _fit(one: torch.Tensor, other: torch.Tensor) -> bool:
    return (
        one.dim() > 0
        and other.dim() > 0
        and all(a == b or a == 1 or b == 1 for a, b in zip(reversed(one.shape), reversed(other.shape), strict=False))
    )


def _detached(case: Case, seen: Seen) -> Wrong | None:
    """Name a detach() without which parameters get gradients that get none now."""
    cut = [name for name, gradient in _gradients(case).items() if gradient is None]
    if not cut:
        return None
    for call in seen.calls:
        if call.place.function != "detach" or not call.arguments or not call.arguments[0].requires_grad:
            continue
        edits = {call.place: without()}
        again = case.probe(case.start, case.run.batch(case.first), edits=edits).gradients
        reached = [name for name in cut if name in again]
        if len(reached) == len(cut):
            named = f"{cut[0]} and {len(cut) - 1} more parameters get" if len(cut) > 1 else f"{cut[0]} gets"
            return Wrong(
                call.place,
                f"{call.place.words} cuts the graph: {named} no gradient",
                f"leave detach() out ({call.place.line})",
                edits,
                must_gain=True,
            )
    return None


def _gradients(case: Case) -> dict[str, Any]:
    found = case.probe(case.start, case.run.batch(case.first)).gradients
    trained = {id(parameter) for group in case.run.optimizer.param_groups for parameter in group["params"]}
    return {name: found.get(name) for name, p in case.run.parameters() if p.requires_grad and id(p) in trained}


def _all_ignored(case: Case, seen: Seen) -> Finding | None:
    """Ask whether the labels of every batch are all ignored."""
    batches = range(case.first, case.first + min(5, case.run.period or 5))
    ignored = [_ignores_all(case.probe(case.start, case.run.batch(index), look=True).seen) for index in batches]
    if not all(ignored):
        return None
    call = ignored[0]
    assert call is not None
    index = int(call.options.get("ignore_index", -100))
    case.note("labels of other batches", "all are ignored in each", False)

    def counted(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return (
            func(*args, **{**kwargs, "ignore_index": -(2**31)}) if bool((args[1] >= 0).all()) else func(*args, **kwargs)
        )

    edits = {call.place: counted}
    words = f"do not ignore the label {index}, or mend the labels"
    return Finding(
        "wrong-loss",
        str(call.place),
        case.first,
        f"{call.place.function} ({call.place.line}) ignores label {index}, which is that of every example: nothing is "
        "left to learn from",
        (Fix(words, (edited(edits, words),)),),
    )


def _ignores_all(seen: Seen) -> Call | None:
    for call in seen.calls:
        if call.place.function in ("cross_entropy", "nll_loss") and len(call.arguments) > 1:
            target = call.arguments[1]
            if isinstance(target, torch.Tensor) and not target.is_floating_point():
                index = call.options.get("ignore_index", -100)
                if target.numel() and bool((target == index).all()):
                    return call
    return None
