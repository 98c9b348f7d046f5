"""The paper, as data: what it says, each with a verdict and the evidence for it."""

from steadystep.lab.paper.audit import audit
from steadystep.lab.paper.row import Row

__all__ = ["Row", "audit"]
