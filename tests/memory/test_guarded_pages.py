"""No kernel reads or writes a byte outside the tensors of a step, on which inaccessible pages would end the process."""

import pytest

from memory.guarded_cases import SETS
from memory.guarded_parent import problems


def test_nothing_leaves_its_memory() -> None:
    assert problems("few_cases") == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SETS if name.startswith("all")])
def test_nothing_leaves_its_memory_in_any_combination(name: str) -> None:
    assert problems(name) == []


def test_one_byte_outside_is_found() -> None:
    found = problems("outside")
    assert [line.split(",")[0] for line in found] == ["SIGSEGV: reads_before", "SIGSEGV: writes_after"]
