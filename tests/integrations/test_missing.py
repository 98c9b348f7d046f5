"""Trainers are imported by their adapters alone, and a missing one is one sentence."""

import subprocess
import sys

import pytest

TRAINERS = ("lightning", "pytorch_lightning", "transformers", "accelerate")


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("adapter", "package"),
    [("lightning", "Lightning"), ("transformers", "transformers and Accelerate"), ("accelerate", "Accelerate")],
)
def test_a_missing_trainer_is_one_sentence(adapter: str, package: str) -> None:
    code = f"""
import sys
for name in {TRAINERS}:
    sys.modules[name] = None
try:
    import steadystep.integrations.{adapter}
except ImportError as error:
    print(error)
"""
    wanted = f"steadystep.integrations.{adapter} needs {package}: pip install 'steadystep[{adapter}]'"
    assert python(code) == wanted


def test_the_package_imports_no_trainer() -> None:
    code = f"""
import sys, torch, steadystep
steadystep.skip_aware, steadystep.Adam([torch.ones(1, requires_grad=True)]).metrics()
print([name for name in {TRAINERS} if name in sys.modules])
"""
    assert python(code) == "[]"
