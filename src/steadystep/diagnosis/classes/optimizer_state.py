"""An optimizer whose state was lost, mixed up or never restored."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import torch

from steadystep.diagnosis.case import Case
from steadystep.diagnosis.changes import Change, learning_rate, state_at
from steadystep.diagnosis.culprit import Finding, Fix
from steadystep.diagnosis.play import play
from steadystep.diagnosis.race import learns_far_more, try_fix
from steadystep.diagnosis.run import Moment, Run
from steadystep.diagnosis.trouble import Trouble
from steadystep.recorder.state import State, take

BACK = 3
FILL = 100
"""Steps in which moments are filled before the learning rate comes back."""
SOON = (3, 20)
"""Steps after which a resumed run is compared with one whose moments were filled."""
TRAINED = 0.7
"""A loss below this share of that of fresh weights shows that the weights were trained."""
MISSING = "the optimizer starts without the moments that belong to these weights"
MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "sum", "exp_inf", "grad_avg")
"""Entries of an optimizer's state that are moments, not copies of the weights."""
FAR = 0.5
"""The share of its norm by which a copy of weights must differ from them."""
WILD = 10.0
"""A first moment this many times as large as the root of the second one cannot come from one history."""


def investigate(case: Case, trouble: Trouble) -> Finding | None:
    """Ask whether the state was changed between two steps or does not fit at the start, and whether another helps."""
    found = (
        _lost_between_steps(case, trouble)
        or _weights_of_another_run(case, trouble)
        or _unfit_at_the_start(case, trouble)
    )
    return found or (investigate_stale(case) if trouble.is_standstill else None)


def _lost_between_steps(case: Case, trouble: Trouble) -> Finding | None:
    for step in range(max(case.first + 1, trouble.step - BACK), min(trouble.step + BACK, case.last) + 1):
        moment = case.at(step)
        found = _state_at_its_step(case, step)
        if found is None or not _was_changed(moment.state, found):
            continue
        what = _what_changed(moment.state, found)
        after = case.reference(step)
        kept = _harm(case, step, state_at(step, moment.state, "the state of the step before"))
        lost = _harm(case, step)
        case.note(f"the optimizer's state of before step {step}, kept", f"loss {after:.3g} -> {kept:.3g}", kept < lost)
        case.note("the state as the run has it", f"loss {after:.3g} -> {lost:.3g}", False)
        healthy = max(case.first + 1, step - 10)
        infected = _harm(case, healthy, state_at(healthy, found, "the changed state")) - case.reference(healthy)
        harmless = infected < (lost - after) / 3
        case.note(f"the changed state given to step {healthy}", f"the loss changes by {infected:.3g}", harmless)
        if not math.isnan(kept) and (math.isnan(lost) or kept - after < (lost - after) / 2):
            return Finding(
                "optimizer-state",
                _option_of(what),
                step,
                f"between steps {step - 1} and {step} {what}: step {step} is taken without the history of gradients",
                (
                    Fix(
                        "keep the optimizer, or load its state_dict, when the run goes on",
                        (_always_kept(),),
                        case.before(step, 10),
                    ),
                ),
            )
    return None


def _weights_of_another_run(case: Case, trouble: Trouble) -> Finding | None:
    """Ask whether copies of weights that the state holds, other than moments, are those of another run.

    Slow weights or averages belong near the weights. If the trouble ends when they begin as the weights, they did not.
    """
    weights = dict(case.run.parameters())
    names = {id(parameter): name for name, parameter in weights.items()}
    start, first = case.start.state, case.reference(case.first)
    order = [parameter for group in case.run.optimizer.param_groups for parameter in group["params"]]
    keys = {
        key
        for number, entry in start.optimizer.items()
        if isinstance(entry, dict)
        for key, value in entry.items()
        if key not in MOMENTS
        and isinstance(value, torch.Tensor)
        and value.shape == order[number].shape
        and value.is_floating_point()
        and float((value - start.model[names[id(order[number])]]).norm()) > FAR * float(value.norm())
    }
    for key in sorted(map(str, keys)):
        fix = Fix(f"set the optimizer's {key!r} to the weights once they are loaded", (_as_the_weights(case, key),))
        tried = try_fix(case, fix)
        risen = case.reference(min(trouble.step + 1, max(case.moments)))
        case.note(f"the optimizer's {key!r} as the weights are at the start", tried.words, tried.holds)
        if tried.holds and (math.isnan(risen) or tried.after - first < (risen - first) / 3):
            return Finding(
                "optimizer-state",
                f"optimizer.state ({key})",
                trouble.step,
                f"the optimizer's {key!r}, which are as large as the weights, are not those of this run: step "
                f"{trouble.step} brings the weights towards them",
                (fix,),
            )
    return None


def _as_the_weights(case: Case, key: str) -> Change:
    def give(run: Run, index: int) -> None:
        if index == case.first:
            for parameter, entry in run.optimizer.state.items():
                if key in entry:
                    entry[key] = parameter.detach().clone()

    return Change(f"{key} as the weights", before=give)


def investigate_stale(case: Case) -> Finding | None:
    """Ask whether a run that starts with a state learns far more without it."""
    state = case.start.state.optimizer
    if not state:
        return None
    fresh = Fix("start with a new optimizer, or load the state_dict that belongs to these weights", (_emptied(case),))
    given, tried = try_fix(case, Fix("", ())), try_fix(case, fresh)
    gains = learns_far_more(case, tried, given)
    case.note("no state at the start", f"the loss ends at {tried.after:.3g} instead of {given.after:.3g}", gains)
    if not gains:
        return None
    return Finding(
        "optimizer-state",
        _option_of(_named(state)),
        case.first,
        f"{_named(state)} that the optimizer starts with do not belong to this run: they keep it from learning",
        (fresh,),
    )


def _emptied(case: Case) -> Change:
    def clear(run: Run, index: int) -> None:
        if index == case.first:
            run.optimizer.state.clear()

    return Change("no state at the start", before=clear)


def _unfit_at_the_start(case: Case, trouble: Trouble) -> Finding | None:
    if trouble.step > case.first + 20:
        return None
    state = case.start.state.optimizer
    unfit = _unfit(state)
    if not state and not _is_trained(case):
        return None
    warm = filled(case)
    if warm is None:
        return None
    first = case.reference(case.first)
    rises = [case.play(case.start, case.first, count).end - first for count in SOON]
    filled_rises = [case.play(warm, case.first, count).end - first for count in SOON]
    worst = max(range(len(SOON)), key=lambda place: math.inf if math.isnan(rises[place]) else rises[place])
    rise, then = rises[worst], filled_rises[worst]
    holds = not math.isnan(then) and (math.isnan(rise) or then < rise / 3)
    words = f"after {SOON[worst]} steps the loss of the same batches changes by {then:.3g} instead of {rise:.3g}"
    case.note(f"moments filled for {FILL} steps before the first step", words, holds)
    if not holds:
        return None
    what = unfit or (f"{_named(state)} that the optimizer starts with do not belong to this run" if state else MISSING)
    return Finding(
        "optimizer-state",
        _option_of(what),
        trouble.step,
        f"{what}: the first steps are too large, though the learning rate is sound",
        (
            Fix(
                "load the optimizer's state_dict with the weights, or warm the learning rate up",
                (_warm_up(case.first),),
            ),
            Fix("fill the moments before the first step", (state_at(case.first, warm.state, "moments filled"),)),
        ),
    )


def _named(state: dict[int, Any]) -> str:
    keys = {str(key) for entry in state.values() if isinstance(entry, dict) for key in entry} - {"step"}
    return f"the moments ({', '.join(sorted(keys))})" if keys else "the moments"


def filled(case: Case) -> Moment | None:
    """Return the start with moments that have seen gradients at a learning rate of 0; None if a replay fails."""
    clean = Change(
        "moments filled", before=lambda run, index: run.optimizer.state.clear() if index == case.first else None
    )
    played = play(case.run, case.start, range(case.first, case.first + FILL), clean, learning_rate(0.0))
    if played.error is not None or played.broken is not None:
        return None
    warm = case.run.take()
    weights = State(
        case.start.state.model,
        warm.state.optimizer,
        case.start.state.groups,
        case.start.state.others,
        case.start.state.rng,
    )
    return dataclasses.replace(case.start, state=weights)


def _warm_up(first: int) -> Change:
    return learning_rate(
        lambda index: min(1.0, (index - first + 1) / FILL) ** 2, f"learning rate warmed up over {FILL} steps"
    )


def _always_kept() -> Change:
    """Give the optimizer in each step the state and the step counts that it had after the last one."""
    kept: dict[str, State] = {}

    def give(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        if "last" in kept:
            state_at(index, kept["last"], "").gradients(run, optimizer, index)

    def keep(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        kept["last"] = take(run.model, optimizer)

    return Change("the state is kept between steps", gradients=give, after=keep)


def _harm(case: Case, step: int, *changes: Change) -> float:
    return case.replay(step, BACK, *changes).end


def _state_at_its_step(case: Case, step: int) -> State | None:
    found: list[State] = []

    def look(run: Run, optimizer: torch.optim.Optimizer, index: int) -> None:
        found.append(take(run.model, optimizer))

    case.replay(step, 1, Change("", gradients=look))
    return found[0] if found else None


def _was_changed(before: State, now: State) -> bool:
    return before.optimizer.keys() != now.optimizer.keys() or any(
        not _equal(before.optimizer[number], now.optimizer[number]) for number in before.optimizer
    )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and bool(torch.equal(one.nan_to_num(), other.nan_to_num()))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    return type(one) is type(other) and (not isinstance(one, int | float | str | bool) or one == other)


def _what_changed(before: State, now: State) -> str:
    if not now.optimizer:
        return "the optimizer's state is emptied"
    missing = sorted(
        {str(key) for n, entry in before.optimizer.items() for key in _keys(entry) - _keys(now.optimizer.get(n, {}))}
    )
    if missing:
        return f"the optimizer's {' and '.join(missing)} are lost"
    changed = sorted(
        {
            str(key)
            for n, entry in before.optimizer.items()
            for key in _keys(entry)
            if not _equal(entry[key], now.optimizer[n][key])
        }
    )
    return f"the optimizer's {' and '.join(changed)} are replaced"


def _keys(entry: Any) -> set[Any]:
    return set(entry) if isinstance(entry, dict) else set()


def _option_of(what: str) -> str:
    for name in ("exp_avg_sq", "exp_avg", "momentum_buffer", "step"):
        if name in what:
            return f"optimizer.state ({name})"
    return "optimizer.state"


def _unfit(state: dict[int, Any]) -> str | None:
    """Return what does not fit in the state that a run starts with."""
    entries = [entry for entry in state.values() if isinstance(entry, dict)]
    if not entries:
        return None
    if 0 < sum("exp_avg_sq" in entry for entry in entries) < len(entries):
        return "some second moments (exp_avg_sq) are missing"
    stepped = [entry for entry in entries if float(entry.get("step", 0)) > 1]
    for name, words in (
        ("exp_avg_sq", "second moments"),
        ("exp_avg", "first moments"),
        ("momentum_buffer", "momentum"),
    ):
        having = [entry[name] for entry in stepped if isinstance(entry.get(name), torch.Tensor)]
        if having and all(not bool(tensor.any()) for tensor in having):
            return f"the {words} ({name}) are all 0 after a resume"
    if any("exp_avg" in entry and "exp_avg_sq" not in entry for entry in stepped):
        return "the second moments (exp_avg_sq) are missing after a resume"
    ratios = list(_ratios(stepped))
    if ratios and max(ratios) > WILD:
        return (
            f"the second moments (exp_avg_sq) do not belong to the first ones: up to {max(ratios):.3g} times too small"
        )
    return None


def _ratios(entries: Iterable[dict[str, Any]]) -> Iterable[float]:
    for entry in entries:
        if isinstance(entry.get("exp_avg"), torch.Tensor) and isinstance(entry.get("exp_avg_sq"), torch.Tensor):
            first, second = entry["exp_avg"].double().norm(), entry["exp_avg_sq"].double().sum().clamp_min(0).sqrt()
            yield float(first / second.clamp_min(1e-30)) if float(first) > 0 else 0.0


def _is_trained(case: Case) -> bool:
    """Whether the weights are far better than freshly initialised ones."""
    return case.reference(case.first) < TRAINED * case.untrained
