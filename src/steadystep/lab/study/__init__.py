"""Studies: their declaration, the stages that their trials run in, and the results."""
