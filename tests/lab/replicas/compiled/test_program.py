"""Programs, matrix products with torch's BLAS, and executables with and without it."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steadystep.lab.replicas.compiled import matmul
from steadystep.lab.replicas.compiled.executable import Executable
from steadystep.lab.replicas.compiled.fx_trace import trace
from steadystep.lab.replicas.compiled.matmul import MIN_BLAS_SIZE, matmul_instruction
from steadystep.lab.replicas.compiled.ops import BIASED
from steadystep.lab.replicas.compiled.program import Program

HAS_BLAS = matmul.gemm(torch.float32) is not None
needs_blas = pytest.mark.skipif(not HAS_BLAS, reason="torch exports no BLAS on this machine")

LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.mT.contiguous().mT,
    "slice of a larger matrix": lambda x: torch.cat([x, x], 2)[:, :, : x.shape[2]],
    "with gaps between replicas": lambda x: torch.stack([x, x], 1)[:, 0],
    "shared by all replicas": lambda x: x[:1].expand_as(x),
}


@needs_blas
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(sorted(LAYOUTS)),
    st.sampled_from(sorted(LAYOUTS)),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 99),
)
def test_products_agree_with_torch(
    size: tuple[int, int, int, int], layout_a: str, layout_b: str, dtype: torch.dtype, seed: int
) -> None:
    replicas, m, k, n = size
    generator = torch.Generator().manual_seed(seed)
    a = LAYOUTS[layout_a](torch.randn(replicas, m, k, dtype=dtype, generator=generator))
    b = LAYOUTS[layout_b](torch.randn(replicas, k, n, dtype=dtype, generator=generator))
    c = torch.full((replicas, m, n), torch.nan, dtype=dtype)
    instruction = matmul_instruction(a, b, c)
    assert (instruction is None) == (m * k * n < MIN_BLAS_SIZE)
    if instruction:
        Program([instruction]).run()
        torch.testing.assert_close(c, a @ b, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-6)


@needs_blas
@pytest.mark.parametrize(("m", "k", "n"), [(64, 64, 256), (64, 256, 128), (64, 128, 10), (10, 64, 128), (256, 64, 64)])
def test_products_equal_single_products_bit_for_bit(m: int, k: int, n: int) -> None:
    a, b = torch.randn(2, m, k), torch.randn(2, n, k).mT
    c = torch.empty(2, m, n)
    instruction = matmul_instruction(a, b, c)
    assert instruction
    Program([instruction]).run()
    assert all(torch.equal(c[replica], a[replica] @ b[replica]) for replica in range(2))


@needs_blas
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(2, 20, 20)[:, ::2], torch.zeros(2, 20, 20)),  # a gap between rows, which BLAS supports
        (torch.zeros(2, 20, 20), torch.zeros(2, 20, 20)),
    ],
)
def test_computed_with_blas(a: torch.Tensor, b: torch.Tensor) -> None:
    assert matmul_instruction(a, b, torch.empty(2, a.shape[1], 20)) is not None


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        (torch.zeros(2, 20, 40)[:, :, ::2], torch.zeros(2, 20, 20), torch.zeros(2, 20, 20)),
        (torch.zeros(2, 1, 1).expand(2, 20, 20), torch.zeros(2, 20, 20), torch.zeros(2, 20, 20)),
        (torch.zeros(2, 20, 20), torch.zeros(2, 20, 20), torch.zeros(2, 20, 20).mT),
        (torch.zeros(2, 5, 5), torch.zeros(2, 5, 5), torch.zeros(2, 5, 5)),
        *(
            (
                torch.zeros(2, 20, 20, dtype=dtype),
                torch.zeros(2, 20, 20, dtype=dtype),
                torch.zeros(2, 20, 20, dtype=dtype),
            )
            for dtype in (torch.bfloat16, torch.int64, torch.complex64)
        ),
    ],
)
def test_left_to_torch(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> None:
    assert matmul_instruction(a, b, c) is None


def programs(executable: Executable) -> list[Program]:
    owners = [getattr(call, "__self__", None) for call in executable._calls]
    return [owner for owner in owners if isinstance(owner, Program)]


def chain(x: torch.Tensor, w: torch.Tensor) -> list[torch.Tensor]:
    first = torch.bmm(x, w)
    return [torch.bmm(torch.tanh(first), w), torch.bmm(first, first.mT)]


@pytest.mark.parametrize("available", [True, False])
def test_an_executable_with_and_without_blas(available: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not available:
        monkeypatch.setattr(matmul, "gemm", lambda dtype: None)
    elif not HAS_BLAS:
        pytest.skip("torch exports no BLAS on this machine")
    x, w = torch.zeros(3, 10, 20), torch.zeros(3, 20, 20)
    executable = Executable(trace(chain, x, w), [x, w])
    assert bool(programs(executable)) == available
    for _ in range(2):
        x.normal_()
        w.normal_()
        executable.run()
        for found, expected in zip(executable.outputs, chain(x, w), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_consecutive_instructions_of_one_dtype_are_one_program() -> None:
    x = torch.ones(2, 20, 20)

    def function(x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.tanh(x @ x @ x) @ x, x.double() @ x.double()]

    executable = Executable(trace(function, x), [x])
    assert [len(program.table) for program in programs(executable)] == ([2, 1, 1] if HAS_BLAS else [])


def test_instructions_before_the_graph_are_executed_in_every_run() -> None:
    x, bias, y = torch.ones(1, 2, 3), torch.ones(1, 1, 3), torch.zeros(1, 2, 3)
    executable = Executable(trace(lambda y: [y * 2], y), [y], before=[BIASED.instruction([x, bias], [y])])
    for value in (1.0, 5.0):
        x.fill_(value)
        executable.run()
        assert torch.equal(executable.outputs[0], torch.full_like(x, 2 * (value + 1)))
