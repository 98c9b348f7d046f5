"""All that can happen to the memory of a tensor that stays the same object is noticed, and nothing else."""

import weakref
from collections.abc import Callable

import pytest
import torch

from steadystep.memory.fingerprint import ComparedMemory, StepMemory
from steadystep.memory.native import native_memory


def regrown(tensor: torch.Tensor) -> None:
    size = tensor.untyped_storage().nbytes()
    tensor.untyped_storage().resize_(0)
    tensor.untyped_storage().resize_(size // 2)


CHANGES: dict[str, Callable[[torch.Tensor], object]] = {
    "a clone": lambda x: setattr(x, "data", x.data.clone()),
    "a slice": lambda x: setattr(x, "data", x.data[:2]),
    "another shape": lambda x: setattr(x, "data", x.data.as_strided((16,), (1,))),
    "a transpose": lambda x: setattr(x, "data", x.data.t()),
    "expanded": lambda x: setattr(x, "data", x.data[:1].expand(4, 4)),
    "another dtype": lambda x: setattr(x, "data", x.data.view(torch.int32)),
    "in-place transpose": lambda x: x.t_(),
    "storage gone": lambda x: x.untyped_storage().resize_(0),
    "storage grown": lambda x: x.untyped_storage().resize_(1 << 20),
    "storage smaller": regrown,
    "a view of more": lambda x: setattr(x, "data", torch.zeros(8, 4)[:4]),
}


MEMORIES: dict[str, Callable[..., StepMemory | None]] = {"compared": ComparedMemory, "native": native_memory}


@pytest.fixture(params=MEMORIES)
def memory_of(request: pytest.FixtureRequest) -> Callable[..., StepMemory]:
    return MEMORIES[request.param]  # type: ignore[return-value]


def surrounded(tensor: torch.Tensor) -> list[torch.Tensor]:
    return [torch.zeros(3), tensor, torch.zeros(2, 2)]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("strides", [(4, 1), (1, 4)])
def test_a_change_of_what_is_written_is_noticed(
    memory_of: Callable[..., StepMemory], change: str, strides: tuple[int, int]
) -> None:
    written, read = surrounded(torch.zeros(16).as_strided((4, 4), strides)), surrounded(torch.zeros(5))
    memory = memory_of(written, read)
    assert memory.holds(read)
    CHANGES[change](written[1])
    assert not memory.holds(read)


@pytest.mark.parametrize("shape", [(1,), (4, 4)])
def test_a_negated_view_of_the_same_memory_is_noticed(
    memory_of: Callable[..., StepMemory], shape: tuple[int, ...]
) -> None:
    numbers = torch.zeros(shape, dtype=torch.complex64)
    written, read = surrounded(numbers.imag.requires_grad_()), surrounded(torch.zeros(5))
    memory = memory_of(written, read)
    assert memory.holds(read)
    negated = numbers.conj().imag
    assert negated.is_neg() and negated.data_ptr() == written[1].data_ptr()
    written[1].data = negated
    assert not memory.holds(read)
    assert memory_of(written, read).holds(read), "it may stay one"


@pytest.mark.parametrize("change", [change for change in CHANGES if change != "a clone"])
@pytest.mark.parametrize("strides", [(4, 1), (1, 4)])
def test_a_change_of_what_is_read_is_noticed(
    memory_of: Callable[..., StepMemory], change: str, strides: tuple[int, int]
) -> None:
    written, read = surrounded(torch.zeros(5)), surrounded(torch.zeros(16).as_strided((4, 4), strides))
    memory = memory_of(written, read)
    CHANGES[change](read[1])
    assert not memory.holds(read)
    read[1] = torch.zeros(4, 4).to_sparse()
    assert not memory.holds(read)


def test_what_is_read_may_move(memory_of: Callable[..., StepMemory]) -> None:
    written, read = surrounded(torch.zeros(5)), surrounded(torch.zeros(4, 4))
    memory = memory_of(written, read)
    assert memory.holds(read) and not memory.moved
    others = surrounded(torch.ones(4, 4))
    assert memory.holds(others) and memory.moved
    assert memory.addresses.tolist() == [other.data_ptr() for other in others]
    assert memory.holds(others) and not memory.moved


def test_other_elements_are_no_change(memory_of: Callable[..., StepMemory]) -> None:
    written, read = surrounded(torch.zeros(4, 4)), surrounded(torch.zeros(4, 4))
    memory = memory_of(written, read)
    written[1].fill_(3.0)
    written[0].data = written[0].data
    read[2].fill_(1.0)
    assert memory.holds(read)


def test_handles_do_not_keep_memory() -> None:
    """What is read is freed once nobody else holds it, and what is written once the memory of the step is gone."""
    written, read = [torch.zeros(3)], [torch.zeros(4)]
    memory = native_memory(written, read)
    assert memory is not None and memory.holds(read)
    gone = weakref.ref(read.pop())
    assert gone() is None
    gone = weakref.ref(written.pop())
    assert gone() is not None
    del memory
    assert gone() is None
