"""Find the destinations that `--log` names."""

import re
from collections.abc import Sequence
from pathlib import Path

from steadystep.lab.errors import UserError
from steadystep.lab.sinks.destination import Destination, OpenDestination
from steadystep.lab.system.torchrun import follows

ACCEPTED = "tensorboard:DIR, wandb, wandb:PROJECT, mlflow or mlflow:URI"
PROJECT = "steadystep"


class LogError(UserError):
    """A destination of `--log` that does not exist, or that cannot be used."""


def open_destinations(specs: Sequence[str]) -> list[OpenDestination]:
    """Return the destinations, each once.

    Raises:
        LogError: if a destination is not known or cannot be used, or if its package is not installed.
    """
    if follows():
        return []  # of several processes of one study, the first one writes
    return [_open(spec) for spec in dict.fromkeys(specs)]


def first_sentence(error: Exception) -> str:
    """Return the first sentence of what an error says: some trackers say a page.

    >>> first_sentence(ValueError("No such URI (e.g., a.b). Use another one."))
    'No such URI (e.g., a.b)'
    """
    return re.split(r"\.\s|\n", str(error).strip())[0].rstrip(".") or type(error).__name__


def _open(spec: str) -> OpenDestination:
    try:
        destination = _destination(spec)
    except ImportError as error:
        raise LogError(f"--log {spec}: {error}") from error
    try:
        return OpenDestination(destination, destination.written())
    except destination.errors as error:
        raise LogError(f"--log {spec} cannot be used: {first_sentence(error)}; {destination.instead}") from error


def _destination(spec: str) -> Destination:
    tracker, colon, place = spec.partition(":")
    if tracker == "tensorboard" and place:
        from steadystep.lab.sinks.to_tensorboard import ToTensorBoard

        return ToTensorBoard(spec, Path(place))
    if tracker == "wandb" and bool(colon) == bool(place):
        from steadystep.lab.sinks.to_wandb import ToWandb

        return ToWandb(spec, place or PROJECT)
    if tracker == "mlflow" and bool(colon) == bool(place):
        from steadystep.lab.sinks.to_mlflow import ToMLflow

        return ToMLflow(spec, place or None)
    raise LogError(f"--log takes {ACCEPTED}, got {spec!r}")
