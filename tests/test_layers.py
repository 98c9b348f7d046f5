"""The folder tree is the architecture: imports go down without cycles, and the library never imports the lab."""

import ast
import graphlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

LAYERS = (  # from the top; a module may import from its own row and from those below
    ("__init__", "__main__", "cli"),
    ("lab.data",),
    ("lab.report", "lab.progress", "lab.sinks"),
    ("lab.paper", "lab.stability", "lab.success", "lab.cost"),
    ("lab.execution",),
    ("lab.statistics",),
    ("lab.study",),
    ("lab.replicas",),
    ("lab.training",),
    ("lab.theory", "lab.tasks"),
    ("lab.system", "lab.choices", "lab.errors", "lab.figure", "lab.surface", "lab.counted", "lab.doctor"),
    ("integrations.lightning", "integrations.accelerate", "integrations.transformers", "integrations.track"),
    ("integrations",),
    ("api",),
    ("diagnosis",),
    ("recorder",),
    ("guarded_optimizer",),
    ("compile_kernels",),
    ("clip_in_place", "profile", "decay", "applied_steps", "optimizers"),
    ("step", "kernels"),
    ("clipping",),
    ("gradients",),
    ("rule",),
    ("elementwise", "memory", "tracing"),
    ("arguments", "disk_cache"),
)


def name_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in sorted((SOURCE / "steadystep").rglob("*.py"))}


def imports_of(module: str) -> set[str]:
    """Return the modules of the package that a module imports, wherever in its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & MODULES.keys() or {node.module} & MODULES.keys()
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & MODULES.keys()
    return found - {module}


def layer_of(module: str) -> int:
    inner = module.removeprefix("steadystep").removeprefix(".") or "__init__"
    for number, names in enumerate(LAYERS):
        if any(inner == name or inner.startswith(f"{name}.") for name in names):
            return number
    pytest.fail(f"{module} belongs to no layer: give it a place in LAYERS")


@pytest.mark.parametrize("module", [module for module in MODULES if module != "steadystep.lab"])
def test_imports_run_down(module: str) -> None:
    upward = [other for other in imports_of(module) if other != "steadystep" and layer_of(other) < layer_of(module)]
    assert upward == [], f"{module} imports from a layer above its own"


def test_there_is_no_circle() -> None:
    graphlib.TopologicalSorter({module: imports_of(module) for module in MODULES}).prepare()


def test_no_file_is_named_by_a_gerund() -> None:
    """No file name is a gerund but clipping, the standard term; Lightning is a name, ring and recording are nouns."""
    things = {"ring", "recording"}
    names = {file.stem for file in MODULES.values()} - things
    assert [name for name in names if name.endswith("ing") and not name.endswith(("clipping", "lightning"))] == []
