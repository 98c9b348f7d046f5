"""The loop that all references share: steps, tensors that have a gradient, and each tensor's own count t."""

from collections.abc import Callable, Sequence

Tensor = list[float]
Params = list[Tensor]
Gradients = list[list[Tensor | None]]
Trajectory = list[list[Tensor]]
State = dict[str, Tensor]
Update = Callable[[Tensor, Tensor, State, int, float], Tensor]


def trajectory(params: Params, grads: Gradients, update: Update, lr: float, lrs: Sequence[float] | None) -> Trajectory:
    """The parameters after every step.

    `update(p, g, state, t, a)` returns a tensor's new values; t counts the tensor's own steps from 1 and a is
    the learning rate of the step, `lrs[k]` if a schedule is given, else lr. A tensor whose gradient is None
    does not step: neither its values, nor its state, nor its count change.
    """
    now = [list(p) for p in params]
    states: list[State] = [{} for _ in params]
    counts = [0] * len(params)
    history: Trajectory = []
    for k, step in enumerate(grads):
        a = lr if lrs is None else lrs[k]
        for j, g in enumerate(step):
            if g is not None:
                counts[j] += 1
                now[j] = update(now[j], g, states[j], counts[j], a)
        history.append([list(p) for p in now])
    return history


def slot(state: State, name: str, like: Tensor, start: float = 0.0) -> Tensor:
    """The state tensor `name`, filled with `start` when the tensor steps for the first time."""
    return state.setdefault(name, [start] * len(like))


def choose(variant: str | None, known: tuple[str, ...]) -> str:
    """The variant asked for; the first known one is the default."""
    if variant is None:
        return known[0]
    if variant not in known:
        raise ValueError(f"variant={variant!r}: accepted are {', '.join(known)}")
    return variant
