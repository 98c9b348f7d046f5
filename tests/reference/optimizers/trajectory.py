"""The loop over steps and tensors that all references share, with a step count t for each tensor."""

from collections.abc import Callable, Sequence

Tensor = list[float]
Params = list[Tensor]
Gradients = list[list[Tensor | None]]
Trajectory = list[list[Tensor]]
State = dict[str, Tensor]
Update = Callable[[Tensor, Tensor, State, int, float], Tensor]


def trajectory(params: Params, grads: Gradients, update: Update, lr: float, lrs: Sequence[float] | None) -> Trajectory:
    """Return the parameters after every step.

    `update(p, g, state, t, a)` returns a tensor's new values. t counts the steps of that tensor from 1; a is
    the learning rate of the step: `lrs[k]` if there is a schedule, else lr. A tensor whose gradient is None
    does not step: its values, its state and its count do not change.
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
    """Return the state tensor `name`, which is filled with `start` at the first step of the tensor."""
    return state.setdefault(name, [start] * len(like))
