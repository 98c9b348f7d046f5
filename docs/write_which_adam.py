"""Write docs/which-adam.md: how far optimizers of the same name differ, computed with the tests' scalar references.

The references are loops over Python floats, written from the papers and the authors' releases. They are independent of
the package's own rules; the tests check the rules against them.
"""

import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from reference.optimizers import REFERENCES  # noqa: E402
from steadystep.optimizers import OPTIMIZERS, Optimizer  # noqa: E402

PAGE = ROOT / "docs" / "which-adam.md"
LR = 1e-3
STEPS = 2000

INTRODUCTION = """# Which Adam is this?

Libraries give the same name to different optimizers. Here every definition is selected by its name, with `variant=`.
The default is torch's definition if torch.optim has the optimizer, otherwise the authors' released code, otherwise the
paper. This page is written by `docs/write_which_adam.py` from the scalar references of the tests. Each reference is
written from the equations and does not use the package's rule.

The table shows three measurements. Each uses learning rate 0.001, the default values of all other hyperparameters, and
one parameter that starts at 1:

- **first step**: the length of the first step, divided by the learning rate, if the gradient is 1;
- **step 1000**: the length of the 1000th step, divided by the learning rate, if every gradient is 1;
- **after a spike**: the total change of the parameter in 2000 steps, if the first gradient is 10 and the others are 1.

| optimizer | variant | first step | step 1000 | after a spike |
| --- | --- | ---: | ---: | ---: |
"""


def probe(name: str, variant: str, first: float) -> list[float]:
    """Return the values of the parameter for one gradient of `first` followed by gradients of 1."""
    gradients: list[list[list[float] | None]] = [[[first if step == 0 else 1.0]] for step in range(STEPS)]
    path = REFERENCES[name]([[1.0]], gradients, lr=LR, variant=variant)
    return [1.0, *(tensors[0][0] for tensors in path)]


def row(name: str, variant: str, default: bool) -> str:
    """Return one line of the table."""
    steady, spiked = probe(name, variant, 1.0), probe(name, variant, 10.0)
    first, thousandth = (steady[0] - steady[1]) / LR, (steady[999] - steady[1000]) / LR
    label = f"`{variant}`{' (default)' if default else ''}"
    return f"| {name} | {label} | {first:.4f} | {thousandth:.4f} | {spiked[-1] - spiked[0]:.4f} |"


def page() -> str:
    """Return the whole page as Markdown."""
    rows = [row(name, v, v == kind.variants[0]) for name, kind in OPTIMIZERS.items() for v in kind.variants]
    sections = [f"## {name}\n\n{_documentation(name)}" for name in OPTIMIZERS]
    return INTRODUCTION + "\n".join(rows) + "\n\n" + "\n\n".join(sections) + "\n"


def _documentation(name: str) -> str:
    """Convert the docstring of an optimizer to Markdown: description, equation, variants and source."""
    text = inspect.getdoc(OPTIMIZERS[name]) or ""
    about = re.split(r"\n(?:Args|Source):", text)[0]
    source = text[text.index("Source:") :].partition("\n>>>")[0] if "Source:" in text else ""
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
    """Return the defaults of the hyperparameters, without the options that all optimizers have."""
    parameters = inspect.signature(OPTIMIZERS[name]).parameters
    own = [parameters[each] for each in parameters if each not in inspect.signature(Optimizer).parameters]
    return ", ".join(f"`{parameter.name}` {parameter.default}" for parameter in own)


_SYMBOLS = {
    "theta": "θ", "alpha": "α", "beta": "β", "mu": "μ", "lambda": "λ", "epsilon": "ε", "gamma": "γ", "rho": "ρ",
    "infty": "∞", "sigma": "σ", "eta": "η", "psi": "ψ", "sqrt": "√", "hat": "",
}  # fmt: skip


def _plain(line: str) -> str:
    """Replace the LaTeX symbols in a line of prose with Unicode letters."""
    line = re.sub(r"\\sqrt\{([^{}]*)\}", r"√(\1)", line)
    # A space after a command is part of the command, unless a word follows.
    return re.sub(r"\\([a-z]+)(?: (?=\\|[a-z]\b|[a-z]_))?", lambda match: _SYMBOLS[match[1]], line).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page())
