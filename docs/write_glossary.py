"""Write docs/glossary.md: the terms of the reports, and the terms that only the documentation uses."""

from pathlib import Path

from steadystep.lab.report.glossary import TERMS
from steadystep.lab.statistics.convergence import DEFINITIONS

PAGE = Path(__file__).parent / "glossary.md"

LIBRARY_TERMS = {
    "capture": "A recording of the scalar operations of a step as a graph, which later steps with the same options "
    "replay instead of running the Python code.",
    "graph": "The scalars of a step (norms, clipping factors, bias corrections, counters), captured as a graph of "
    "nodes and replayed by one compiled kernel.",
    "guarded step": "A step that is refused, without any change to parameters and optimizer state, if a gradient is "
    "not finite or its square overflows.",
    "replica": "One of several trials of the same arm that a worker process trains side by side.",
    "unit": "An index of the first dimension of a tensor, such as an output feature of a linear layer; a tensor of "
    "at most one dimension is a single unit.",
}
"""The definition of each term of the library."""

INTRODUCTION = """# Glossary

This page is written by `docs/write_glossary.py`; the reports contain the same definitions.

"""


def page() -> str:
    """Return the whole page as Markdown: all terms in alphabetical order."""
    times = {definition.name: definition.statement for definition in DEFINITIONS}
    terms = {**TERMS, **LIBRARY_TERMS, **times}
    return INTRODUCTION + "\n".join(f"- **{term}**: {terms[term]}" for term in sorted(terms)) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
