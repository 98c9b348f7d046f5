"""The colour, dash pattern and symbol of each arm, which are the same in every figure."""

from dataclasses import dataclass

from steadystep.lab.figure import COLORS, DASHES
from steadystep.lab.report.figures.figure import text
from steadystep.lab.study.records import Results

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")


@dataclass(frozen=True)
class ArmStyle:
    """The style of one arm. `label` is the name of the arm, escaped for Plotly."""

    label: str
    color: str
    dash: str
    symbol: str

    def faded(self, opacity: float) -> str:
        """Return the colour with this opacity.

        >>> ArmStyle("Adam", "#0072b2", "solid", "circle").faded(0.2)
        'rgba(0, 114, 178, 0.2)'
        """
        red, green, blue = (int(self.color[i : i + 2], 16) for i in (1, 3, 5))
        return f"rgba({red}, {green}, {blue}, {opacity})"

    @property
    def line(self) -> dict[str, object]:
        """The line for Plotly."""
        return {"color": self.color, "dash": self.dash, "width": 2}

    @property
    def marker(self) -> dict[str, object]:
        """The marker for Plotly."""
        return {"color": self.color, "symbol": self.symbol, "size": 8}


def arm_styles(results: Results) -> dict[str, ArmStyle]:
    """Return each arm's style, keyed by name. From the seventh arm on, colours repeat with another dash pattern."""
    return {
        arm.name: ArmStyle(
            label=text(arm.name),
            color=COLORS[i % len(COLORS)],
            dash=DASHES[(i + i // len(COLORS)) % len(DASHES)],
            symbol=SYMBOLS[(i + i // len(COLORS)) % len(SYMBOLS)],
        )
        for i, arm in enumerate(results.study.arms)
    }
