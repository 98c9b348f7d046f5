"""Capture a step as a graph of scalars, and replay it as a few kernels as long as its inputs stay the same.

This is to a step's scalars what a CUDA graph is to kernels. A capture holds as long as nothing that the step read from
Python has changed. The tensors are looked up anew in every replay, and so are the learning rates that schedulers set.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from operator import is_
from typing import Any

import torch

from steadystep.clipping.norms import GradNorms
from steadystep.clipping.transforms import Transform
from steadystep.gradients.gradient_set import GradientSet
from steadystep.memory.fingerprint import Fingerprint, addresses_of
from steadystep.step.errors import TooManySkipsError
from steadystep.step.refusal import norms_by_name
from steadystep.tracing.graph import Graph, Untraceable
from steadystep.tracing.ops import Number

TakeStep = Callable[[Graph, Callable[[Sequence[Transform]], GradNorms]], GradNorms | None]
"""Takes the guarded step on the nodes of a graph, with the function that measures the gradients."""


def same_objects(inputs: Sequence[Any], others: Sequence[Any]) -> bool:
    """Return whether two steps have the same objects as inputs."""
    return len(inputs) == len(others) and all(map(is_, inputs, others))


@dataclass
class Capture:
    """A captured step: its graph, the function that evaluates it, the resulting norms, and its inputs."""

    graph: Graph
    evaluate: Callable[[Sequence[int]], None]  # with the addresses of the graph's tensors
    norms: torch.Tensor  # (tensors,) of the gradients, after each replay
    inputs: Sequence[Any]

    def __post_init__(self) -> None:
        self.addresses = addresses_of(self.graph.tensors)
        self._fingerprint = Fingerprint(self.graph.tensors)

    def holds_for(self, inputs: Sequence[Any]) -> bool:
        """Return whether these are the inputs of the capture: the same objects, and with the same kind of memory."""
        return same_objects(inputs, self.inputs) and self._finds_its_tensors()

    def _finds_its_tensors(self) -> bool:
        """Return whether the tensors that the graph reads and writes are where they were, or have only moved."""
        addresses = addresses_of(self.graph.tensors)
        if addresses != self.addresses:
            if not self._fingerprint.matches(self.graph.tensors):
                return False
            self.addresses = addresses
        return True

    def is_repeatable(self) -> bool:
        """Return whether any change of the inputs gives a new object or happens in memory that the graph reads."""
        return bool(self.inputs) and all(map(self._is_fixed, self.inputs))

    def _is_fixed(self, value: Any) -> bool:
        if isinstance(value, torch.Tensor):
            return any(value is tensor for tensor in self.graph.tensors)
        if isinstance(value, tuple):
            return all(map(self._is_fixed, value))
        params = vars(type(value)).get("__dataclass_params__")  # of the class itself: a subclass may be different
        if params is not None and params.frozen:
            return all(self._is_fixed(getattr(value, one.name)) for one in fields(value))
        return isinstance(value, float | int | str | None)


class CapturedStep(ABC):
    """Captures, and then replays, the steps over one set of gradients with a common dtype and device.

    Args:
        gradients: the gradients of the steps.
        norms: (tensors,) where the norms of the gradients are measured into.
        abs_max: (tensors,) the same for the largest magnitudes.
        measure: measures the gradients at these addresses into `norms` and `abs_max`.
    """

    def __init__(
        self,
        gradients: GradientSet,
        norms: torch.Tensor,
        abs_max: torch.Tensor,
        measure: Callable[[Any], None],
    ) -> None:
        self.capture: Capture | None = None
        self._measure = measure
        self.enabled = True  # False once a step could not be captured: the steps that follow are taken as they are
        self._gradients = gradients
        self._norms, self._abs_max = norms, abs_max
        self._held: dict[str, torch.Tensor] = {}

    @property
    def peaks(self) -> torch.Tensor:
        """(tensors,) the largest magnitudes of the last measured gradients, before any scale is divided out."""
        return self._abs_max

    def replay_or_none(self, inputs: Sequence[Any]) -> torch.Tensor | None:
        """Replay the capture and return the norms, or return None if there is no valid capture.

        This is the only place that decides whether a capture is still valid.
        """
        capture = self.capture
        if capture is None or not capture.holds_for(inputs):
            return None
        self._run(capture)
        return capture.norms

    @abstractmethod
    def should_capture(self, inputs: Sequence[Any]) -> bool:
        """Return whether it is worthwhile to capture a step with these inputs."""

    def capture_or_none(self, take_step: TakeStep, inputs: Callable[[], Sequence[Any]]) -> torch.Tensor | None:
        """Capture a step, run it, and return the norms; or return None, with nothing changed, if it is untraceable.

        Args:
            take_step: takes the guarded step on the nodes of a graph.
            inputs: returns the inputs of the step, which may create some of them.
        """
        if not self.enabled:
            return None
        graph = Graph()
        try:
            measured = take_step(graph, lambda transforms: self._measured(graph, transforms))
            assert measured is not None, "a step that measures nothing is not captured"
            norms = self._stored(graph, measured.norms)  # adds to the graph, and so comes before its compilation
            capture = Capture(graph, self._compile(graph), norms, inputs())
        except Untraceable:  # nothing has been changed yet; the steps that follow would be no different
            self._disable()
            return None
        self._run(capture)
        if capture.is_repeatable():
            self.capture = capture
        else:
            self._capture_is_useless()
        return capture.norms

    def hold(self, name: str, number: Number) -> Number:
        """Copy a number of a GradScaler, a new tensor in every step, to fixed memory for the graph, and return it."""
        if not isinstance(number, torch.Tensor):
            return number
        if name not in self._held:
            self._held[name] = torch.empty((), dtype=number.dtype, device=self._norms.device)
        return self._held[name].copy_(number.reshape(()))

    def _run(self, capture: Capture) -> None:
        """Measure the gradients, evaluate the graph, update the parameters, and call the graph's callbacks."""
        addresses = self._locate(capture.graph)
        self._measure(addresses)
        capture.evaluate(capture.addresses)
        for update in capture.graph.updates:
            update(addresses)
        try:
            for callback in capture.graph.callbacks:
                callback()
        except TooManySkipsError as error:
            error.norms = norms_by_name(self._gradients.names, capture.norms)
            raise

    def _locate(self, graph: Graph) -> Any:
        """Return the addresses of the gradients in the form that the backend's passes accept."""
        return self._gradients.addresses

    @abstractmethod
    def _compile(self, graph: Graph) -> Callable[[Sequence[int]], None]:
        """Return a function that evaluates the graph."""

    def _capture_is_useless(self) -> None:
        """Discard a capture that cannot be replayed."""
        self.capture = None

    def _disable(self) -> None:
        self.capture, self.enabled = None, False

    def _measured(self, graph: Graph, transforms: Sequence[Transform]) -> GradNorms:
        """Return the norms of the gradients as nodes of a graph."""
        if transforms:
            raise Untraceable("a captured step measures gradients only before they are clipped")
        norms, abs_max = map(graph.load_all, (self._norms, self._abs_max))
        return GradNorms(norms, abs_max, self._gradients)

    def _stored(self, graph: Graph, vector: Number) -> torch.Tensor:
        """Return the memory that holds a vector of the graph after each replay."""
        if vector is graph.load_all(self._norms):
            return self._norms
        memory = torch.empty_like(self._norms)
        graph.store(memory, vector, -1)
        return memory
