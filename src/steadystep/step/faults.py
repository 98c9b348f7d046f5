"""How often each tensor was at fault for a refused step: its gradient was not finite, or too large to be squared."""

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import torch

from steadystep.clipping.norms import GradNorms
from steadystep.gradients.gradient_set import GradientSet, name_of
from steadystep.gradients.names import qualified_names
from steadystep.tracing.graph import Graph
from steadystep.tracing.ops import Number, isfinite, where
from steadystep.tracing.verdict import load, store

FAULTS = "ledger.faults"
_POSITIONS, _EARLIER = "ledger.fault_positions", "ledger.earlier_faults"


def fault_counts(owner: MutableMapping[str, Any], gradients: GradientSet) -> torch.Tensor:
    """Return the fault counts of the tensors that step now, (tensors,); they are stored in `owner`.

    They are a vector like the norms, for a graph to compute with. When other tensors step, the counts so far are put
    aside.
    """
    positions = None if len(gradients.positions) == gradients.count else tuple(gradients.positions)
    known = owner.get(FAULTS)
    if known is None or owner.get(_POSITIONS) != positions or len(known) != len(gradients.gradients):
        earlier = faults_by_position(owner)
        if earlier:
            owner[_EARLIER] = tuple(earlier.get(position, 0.0) for position in range(1 + max(earlier)))
        owner.pop(_POSITIONS, None)
        if positions is not None:
            owner[_POSITIONS] = positions
        known = torch.zeros(len(gradients.gradients), dtype=torch.float64, device=gradients.home)
    owner[FAULTS] = known.to(gradients.home, torch.float64)
    return owner[FAULTS]


def count_faults(counts: torch.Tensor, raw: GradNorms, after: GradNorms, refused: Number, graph: Graph | None) -> None:
    """Count the tensors at fault, if the step is refused for its gradients.

    Args:
        counts: how often each tensor was at fault so far.
        raw: the gradients as they are.
        after: the gradients after clipping.
        refused: whether the step is refused because of them.
        graph: the graph that the step is recorded in, if it is.
    """
    if refused is False:
        return
    limits = raw.gradients.square_limit
    fits = after.abs_max <= (raw.gradients.square_limits if limits is None else limits)
    sound = isfinite(raw.abs_max) & fits
    store(counts, load(counts, graph) + where(sound, 0.0, 1.0), refused, graph)


def faults_by_position(owner: Mapping[str, Any]) -> dict[int, float]:
    """Return the counts that are not 0 by the position of the parameter in the optimizer; this waits for the device."""
    found = dict(enumerate(owner.get(_EARLIER, ())))
    if FAULTS in owner:
        counts = owner[FAULTS].tolist()
        positions: Sequence[int] = owner.get(_POSITIONS) or range(len(counts))
        for position, count in zip(positions, counts, strict=True):
            found[position] = found.get(position, 0.0) + count
    return {position: count for position, count in found.items() if count}


def faults_by_name(owner: Mapping[str, Any], param_groups: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how often each tensor was at fault, the most frequent first; this waits for the device."""
    found = faults_by_position(owner)
    if not found:
        return {}
    names = [
        name_of(number, position, parameter, group_names)
        for number, (group, group_names) in enumerate(zip(param_groups, qualified_names(param_groups), strict=True))
        for position, parameter in enumerate(group["params"])
    ]
    known = {position: count for position, count in found.items() if position < len(names)}
    return {names[position]: int(known[position]) for position in sorted(known, key=lambda place: -known[place])}
