"""The values that were compared."""

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """The number of values that were compared, and the ones that differ."""

    compared: int = 0
    mismatches: list[str] = field(default_factory=list)

    def same(self, what: str, published: Any, computed: Any, within: float = 1e-9) -> None:
        """Compare a published value with a computed one, relative to its size where that is above 1."""
        self.compared += 1
        if isinstance(computed, (int, float)) and not isinstance(computed, bool):
            value = float(published) if published not in ("", None) else math.nan
            if math.isnan(value) and math.isnan(computed):
                return
            if not abs(value - computed) <= within * max(1.0, abs(computed)):
                self.mismatches.append(f"{what}: published {published}, computed {computed}")
        elif str(published) != str(computed):
            self.mismatches.append(f"{what}: published {published}, computed {computed}")
