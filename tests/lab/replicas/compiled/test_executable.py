"""An executable returns what the traced function returns in every run, even though memory is reused."""

from collections.abc import Callable, Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st

from steadystep.lab.replicas.compiled.executable import Executable
from steadystep.lab.replicas.compiled.fx_trace import trace

Values = list[torch.Tensor]

STEPS: dict[str, Callable[[Values, int, int], torch.Tensor | Sequence[torch.Tensor]]] = {
    "add": lambda values, a, b: values[a] + values[b],
    "multiply": lambda values, a, b: values[a] * values[b],
    "product": lambda values, a, b: values[a] @ values[b] / 3,
    "tanh": lambda values, a, b: torch.tanh(values[a]),
    "relu": lambda values, a, b: torch.relu(values[a] - values[b]),
    "transposed": lambda values, a, b: values[a].mT,
    "reversed": lambda values, a, b: values[a].flip(0),
    "rows as columns": lambda values, a, b: torch.stack(values[a].unbind(0), 1),
    "halves swapped": lambda values, a, b: torch.cat(values[a].chunk(2, 1)[::-1], 1),
    "mean": lambda values, a, b: values[a].mean(0, keepdim=True).expand_as(values[b]),
    "whole sum": lambda values, a, b: values[a] + values[b].sum(),
    "where": lambda values, a, b: torch.where(values[a] > 0, values[b], 0.5),
    "sorted": lambda values, a, b: values[a].sort(1)[0],
    "constant": lambda values, a, b: values[a] + torch.full_like(values[a], 0.25),
}

programs = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=25
)


@given(programs, st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.integers(0, 10**6))
def test_random_programs_on_random_inputs(program: list[tuple[str, int, int]], outputs: list[int], seed: int) -> None:
    """The programs include views of views, results with several views, and memory that is reused."""

    def function(*inputs: torch.Tensor) -> Values:
        values: Values = list(inputs)
        for name, a, b in program:
            found = STEPS[name](values, a % len(values), b % len(values))
            assert isinstance(found, torch.Tensor)
            values.append(found)
        return [values[-1 - place % len(values)] for place in outputs]

    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.zeros(4, 4, dtype=torch.float64) for _ in range(2)]
    executable = Executable(trace(function, *inputs), inputs)
    for _ in range(3):
        for tensor in inputs:
            tensor.uniform_(-2, 2, generator=generator)
        copies = [tensor.clone() for tensor in inputs]
        executable.run()
        for found, expected in zip(executable.outputs, function(*copies), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12, equal_nan=True)
        for tensor, before in zip(inputs, copies, strict=True):
            assert torch.equal(tensor, before), "the inputs are not changed"


def test_memory_that_is_no_longer_needed_is_reused() -> None:
    def chain(x: torch.Tensor) -> Values:
        for _ in range(50):
            x = torch.tanh(x) + 1
        return [x]

    x = torch.zeros(8)
    executable = Executable(trace(chain, x), [x])
    addresses = {call.keywords["out"].data_ptr() for call in executable._calls}  # type: ignore[attr-defined]
    assert len(executable._calls) == 100 and len(addresses) <= 3


def test_outputs_stay_unchanged_until_the_next_run() -> None:
    x = torch.ones(3)
    executable = Executable(trace(lambda x: [x + 1, x.mT if x.dim() > 1 else x * 2, x + 1], x), [x])
    first, second, _ = executable.outputs
    executable.run()
    assert first.tolist() == [2.0] * 3 and second.tolist() == [2.0] * 3
    x.fill_(5)
    assert first.tolist() == [2.0] * 3
    executable.run()
    assert first.tolist() == [6.0] * 3 and second.tolist() == [10.0] * 3
