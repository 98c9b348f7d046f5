"""The audit of the paper as data: its statements, each with a verdict and evidence."""

from steadystep.lab.paper.audit import audit
from steadystep.lab.paper.row import Row

__all__ = ["Row", "audit"]
