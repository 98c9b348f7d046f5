"""From a declared study to verdicts: spec -> trials -> executor -> records -> statistics."""
