"""Leave a run as it was found, to the last bit."""

from collections.abc import Iterator
from contextlib import contextmanager

from steadystep.diagnosis.run import Run
from steadystep.recorder.pause import pause


@contextmanager
def kept(run: Run) -> Iterator[None]:
    """Give a run its state, its gradients, its modes and all random generators back in the end."""
    moment = run.take()
    model = run.model
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        with pause():
            yield
    finally:
        run.put_back(moment)
        for parameter, gradient in gradients:
            parameter.grad = gradient
        for module, mode in modes:
            module.training = mode
