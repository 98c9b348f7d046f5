"""What is written by a program is what that program writes now."""

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parent.parent


def script(name: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_measured_parts_of_the_readme_are_those_of_the_records() -> None:
    assert script("publish").readme() == (ROOT / "README.md").read_text()


def test_which_adam_is_what_the_references_say() -> None:
    assert script("write_which_adam").page() == (ROOT / "docs" / "which-adam.md").read_text()
