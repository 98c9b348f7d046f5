"""Writes docs/which-adam.md: how far the definitions behind a name differ, computed by the tests' scalar references.

The references are loops over Python floats, written from the papers and the authors' releases, independent of the
package's own rules; the tests hold the rules to them.
"""

import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from reference.optimizers import REFERENCES, VARIANTS  # noqa: E402
from steadystep.optimizers import OPTIMIZERS  # noqa: E402

PAGE = ROOT / "docs" / "which-adam.md"
LR = 1e-3
STEPS = 2000

INTRODUCTION = """# Which Adam is this?

Libraries give the same name to different optimizers. Here every definition has a name of its own, `variant=`, and the
default is the first one: torch's definition where torch.optim has the optimizer, else the authors' released code, else
the paper. This page is written by `docs/write_which_adam.py` from the tests' scalar references, each written from the
equations and independent of the rules that it judges.

Three probes, each with learning rate 0.001 and all other hyperparameters at their defaults, on one parameter that
starts at 1:

- **first step**: how many learning rates the first step moves it, with gradient 1;
- **step 1000**: how many the 1000th step does, with gradient 1 throughout;
- **after a spike**: how far it has moved in all after 2000 steps with gradient 10 in the first and 1 from then on.

| optimizer | variant | first step | step 1000 | after a spike |
| --- | --- | ---: | ---: | ---: |
"""


def probe(name: str, variant: str, first: float) -> list[float]:
    """The parameter's path under gradient `first` once and 1 from then on."""
    gradients: list[list[list[float] | None]] = [[[first if step == 0 else 1.0]] for step in range(STEPS)]
    path = REFERENCES[name]([[1.0]], gradients, lr=LR, variant=variant)
    return [1.0, *(tensors[0][0] for tensors in path)]


def row(name: str, variant: str, default: bool) -> str:
    """One line of the table."""
    steady, spiked = probe(name, variant, 1.0), probe(name, variant, 10.0)
    first, thousandth = (steady[0] - steady[1]) / LR, (steady[999] - steady[1000]) / LR
    label = f"`{variant}`{' (default)' if default else ''}"
    return f"| {name} | {label} | {first:.4f} | {thousandth:.4f} | {spiked[-1] - spiked[0]:.4f} |"


def page() -> str:
    """The whole page."""
    rows = [row(name, variant, i == 0) for name, variants in VARIANTS.items() for i, variant in enumerate(variants)]
    sections = [f"## {name}\n\n{_documentation(name)}" for name in OPTIMIZERS]
    return INTRODUCTION + "\n".join(rows) + "\n\n" + "\n\n".join(sections) + "\n"


def _documentation(name: str) -> str:
    """What the class says of itself: what it is, its equation, its variants, its source."""
    text = inspect.getdoc(OPTIMIZERS[name]) or ""
    about, _, rest = text.partition("\nArgs:")
    source = rest[rest.index("Source:") :].partition("\n>>>")[0] if "Source:" in rest else ""
    lines: list[str] = []
    equation = False
    for line in about.strip().splitlines():
        if line.startswith(".. math::"):
            lines += ["", "$$", *filter(None, [line.removeprefix(".. math::").strip()])]
            equation = True
        elif equation and line and not line.startswith(" "):
            lines += ["$$", "", _plain(line)]
            equation = False
        elif not (equation and not line.strip()):
            lines.append(line.strip() if equation else _plain(line))
    if equation:
        lines.append("$$")
    body = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return f"{body}\n\nDefaults: {_defaults(name)}.\n\n{source.strip()}"


def _defaults(name: str) -> str:
    parameters = inspect.signature(OPTIMIZERS[name]).parameters.values()
    return ", ".join(f"`{p.name}` {p.default}" for p in parameters if p.default is not inspect.Parameter.empty)


_SYMBOLS = {
    "theta": "θ", "alpha": "α", "beta": "β", "mu": "μ", "lambda": "λ", "epsilon": "ε", "gamma": "γ", "rho": "ρ",
    "infty": "∞", "sigma": "σ", "eta": "η", "psi": "ψ", "sqrt": "√", "hat": "",
}  # fmt: skip


def _plain(line: str) -> str:
    """A line of prose with its symbols as letters."""
    line = re.sub(r"\\sqrt\{([^{}]*)\}", r"√(\1)", line)
    # The space after a command belongs to it, but not before a word.
    return re.sub(r"\\([a-z]+)(?: (?=\\|[a-z]\b|[a-z]_))?", lambda match: _SYMBOLS[match[1]], line).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page())
