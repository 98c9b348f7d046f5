"""Products by torch's own BLAS, and plans where there is none."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from steadystep.lab.replicas.compiled import matmul
from steadystep.lab.replicas.compiled.executable import Plan
from steadystep.lab.replicas.compiled.fx_trace import traced
from steadystep.lab.replicas.compiled.matmul import WORTH_BLAS, product_line
from steadystep.lab.replicas.compiled.ops import BIASED
from steadystep.lab.replicas.compiled.program import Program

HAS_BLAS = matmul.gemm(torch.float32) is not None
needs_blas = pytest.mark.skipif(not HAS_BLAS, reason="torch has no BLAS to give here")

LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "in order": lambda x: x,
    "transposed": lambda x: x.mT.contiguous().mT,
    "a part of a larger one": lambda x: torch.cat([x, x], 2)[:, :, : x.shape[2]],
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
def test_products_are_those_of_torch(
    size: tuple[int, int, int, int], of_a: str, of_b: str, dtype: torch.dtype, seed: int
) -> None:
    replicas, m, k, n = size
    generator = torch.Generator().manual_seed(seed)
    a = LAYOUTS[of_a](torch.randn(replicas, m, k, dtype=dtype, generator=generator))
    b = LAYOUTS[of_b](torch.randn(replicas, k, n, dtype=dtype, generator=generator))
    c = torch.full((replicas, m, n), torch.nan, dtype=dtype)
    line = product_line(a, b, c)
    assert (line is None) == (m * k * n < WORTH_BLAS)
    if line:
        Program([line]).run()
        torch.testing.assert_close(c, a @ b, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-6)


@needs_blas
@pytest.mark.parametrize(("m", "k", "n"), [(64, 64, 256), (64, 256, 128), (64, 128, 10), (10, 64, 128), (256, 64, 64)])
def test_with_the_last_bits_of_a_lone_product(m: int, k: int, n: int) -> None:
    a, b = torch.randn(2, m, k), torch.randn(2, n, k).mT
    c = torch.empty(2, m, n)
    line = product_line(a, b, c)
    assert line
    Program([line]).run()
    assert all(torch.equal(c[replica], a[replica] @ b[replica]) for replica in range(2))


@needs_blas
@pytest.mark.parametrize(
    ("a", "b"),
    [
        (torch.zeros(2, 20, 20)[:, ::2], torch.zeros(2, 20, 20)),  # each row after a gap: BLAS knows that
        (torch.zeros(2, 20, 20), torch.zeros(2, 20, 20)),
    ],
)
def test_taken(a: torch.Tensor, b: torch.Tensor) -> None:
    assert product_line(a, b, torch.empty(2, a.shape[1], 20)) is not None


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
    assert product_line(a, b, c) is None


def programs(plan: Plan) -> list[Program]:
    owners = [getattr(step, "__self__", None) for step in plan._steps]
    return [owner for owner in owners if isinstance(owner, Program)]


def chain(x: torch.Tensor, w: torch.Tensor) -> list[torch.Tensor]:
    first = torch.bmm(x, w)
    return [torch.bmm(torch.tanh(first), w), torch.bmm(first, first.mT)]


@pytest.mark.parametrize("there", [True, False])
def test_a_plan_with_blas_and_without(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not there:
        monkeypatch.setattr(matmul, "gemm", lambda dtype: None)
    elif not HAS_BLAS:
        pytest.skip("torch has no BLAS to give here")
    x, w = torch.zeros(3, 10, 20), torch.zeros(3, 20, 20)
    plan = Plan(traced(chain, x, w), [x, w])
    assert bool(programs(plan)) == there
    for _ in range(2):
        x.normal_()
        w.normal_()
        plan.run()
        for found, expected in zip(plan.outputs, chain(x, w), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_lines_of_one_type_between_torchs_steps_are_one_program() -> None:
    x = torch.ones(2, 20, 20)

    def function(x: torch.Tensor) -> list[torch.Tensor]:
        return [torch.tanh(x @ x @ x) @ x, x.double() @ x.double()]

    plan = Plan(traced(function, x), [x])
    assert [len(program.table) for program in programs(plan)] == ([2, 1, 1] if HAS_BLAS else [])


def test_what_comes_before_is_done_in_every_run() -> None:
    x, bias, moved = torch.ones(1, 2, 3), torch.ones(1, 1, 3), torch.zeros(1, 2, 3)
    plan = Plan(traced(lambda moved: [moved * 2], moved), [moved], before=[BIASED.line([x, bias], [moved])])
    for value in (1.0, 5.0):
        x.fill_(value)
        plan.run()
        assert torch.equal(plan.outputs[0], torch.full_like(x, 2 * (value + 1)))
