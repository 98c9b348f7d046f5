"""Every optimizer with each of its variants, and every clipper, has a scalar reference."""

import pytest

from reference.clipping import REFERENCES as CLIPPER_REFERENCES
from reference.optimizers import CASES, REFERENCES, VARIANTS
from steadystep import clipping
from steadystep.optimizers import OPTIMIZERS

CLIPPERS = [
    name
    for name, kind in vars(clipping).items()
    if isinstance(kind, type) and issubclass(kind, clipping.Clipper) and kind is not clipping.Clipper
]


def reference_file(name: str) -> str:
    """Return the path of an optimizer's reference: it has the file name of the optimizer's source."""
    return f"tests/reference/optimizers/{OPTIMIZERS[name].__module__.rpartition('.')[2]}.py"


@pytest.mark.parametrize(
    ("name", "variant"), [(name, variant) for name, kind in OPTIMIZERS.items() for variant in kind.variants]
)
def test_every_variant_of_an_optimizer_has_a_reference(name: str, variant: str) -> None:
    file = reference_file(name)
    assert name in REFERENCES, (
        f"{name} has no scalar reference for variant {variant!r}: write {file}, a function decorated with "
        f"@reference({name!r}, variants=..., options=...)"
    )
    assert variant in VARIANTS[name], f"the reference of {name} has no variant {variant!r}: add it to {file}"
    assert any(case[:2] == (name, variant) for case in CASES), (
        f"the reference of {name} has no hyperparameters for variant {variant!r}: add some to @reference in {file}"
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_reference_has_the_default_variant_of_its_optimizer(name: str) -> None:
    if name not in REFERENCES:
        pytest.fail(f"{name} has no scalar reference: write {reference_file(name)}")
    default = OPTIMIZERS[name].variants[0]
    assert VARIANTS[name][0] == default, (
        f"the default variant of {name} is {default!r}: name it first in variants= in {reference_file(name)}"
    )


@pytest.mark.parametrize("name", CLIPPERS)
def test_every_clipper_has_a_reference(name: str) -> None:
    assert name in CLIPPER_REFERENCES, (
        f"the clipper {name} has no scalar reference: write a class {name} in tests/reference/clipping.py"
    )
