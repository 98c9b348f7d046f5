"""The Ray cluster that a study may run on, as its caller names it. This module does not import Ray."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from steadystep.lab.choices import Where
from steadystep.lab.errors import UserError
from steadystep.lab.execution.process_group import process_group
from steadystep.lab.system.torchrun import place
from steadystep.lab.training.device import CPU, find_device

KNOCK_SECONDS = 10.0
"""How long the head of a cluster may take to answer."""


@dataclass(frozen=True)
class Cluster:
    """Where trials run on Ray, and what each of them takes.

    Args:
        address: The address of a running cluster, such as "auto" or "10.0.0.1:6379". Default: that in the environment
            variable RAY_ADDRESS, otherwise a cluster on this machine that lives as long as the study.
        num_gpus: The share of a GPU that a trial takes: 0.25 runs four trials on each GPU. 0: trials use no GPU.
    """

    address: str | None = None
    num_gpus: float = 0.0


def find_cluster(executor: Where, address: str | None, num_gpus: float | None, device: str | None) -> Cluster | None:
    """Return the cluster that was asked for, or None if trials run in processes of this machine.

    Raises:
        UserError: if Ray is not installed, or an option has no meaning beside the others.
    """
    if executor != "ray":
        for name, value in (("address", address), ("num-gpus", num_gpus)):
            if value is not None:
                raise UserError(f"--{name} says how trials run on Ray: add --executor ray, or leave it out")
        return None
    if place():
        raise UserError("--executor ray runs whole trials on a cluster: leave it out under torchrun")
    if find_spec("ray") is None:
        raise UserError("--executor ray needs Ray: pip install 'steadystep[ray]'")
    on_gpu = trial_device(device, Cluster()).type == "cuda"
    if num_gpus is None:
        return Cluster(address, 1.0 if on_gpu else 0.0)
    if not on_gpu:
        raise UserError("--num-gpus is the share of a GPU that a trial takes: add --device cuda, or leave it out")
    if not (0.0 < num_gpus <= 1.0):
        raise UserError(f"--num-gpus must be more than 0 and at most 1, because a trial uses one GPU; got {num_gpus:g}")
    return Cluster(address, num_gpus)


def trial_device(name: str | None, cluster: Cluster | None) -> torch.device:
    """Return the device that trials train on; on a cluster, that of the node, which need not exist here.

    Each of several processes that torchrun started on one machine has a GPU of its own.

    Raises:
        UserError: if there is no such device, or if it has a number although Ray or torchrun chooses the GPU.
    """
    here = place()
    if cluster is None and here and name not in (None, "cpu"):
        if name != "cuda":
            raise UserError(f"under torchrun, each process has a GPU of its own: choose cpu or cuda, not {name!r}")
        return find_device(f"cuda:{here.local_rank}")
    if cluster is None:
        return find_device(name)
    if name not in (None, "cpu", "cuda"):
        raise UserError(f"on a Ray cluster, trials train on cpu or on cuda, and Ray chooses which GPU; got {name!r}")
    return torch.device(name) if name else CPU


def cluster_options(cluster: Cluster | None) -> dict[str, Any]:
    """Return the options of a command that runs on this cluster."""
    if cluster is None:
        return {}
    return {"executor": "ray", "address": cluster.address, "num-gpus": cluster.num_gpus or None}


@contextmanager
def connected(cluster: Cluster | None, workers: int, device: torch.device = CPU) -> Iterator[None]:
    """Connect this process to the cluster, or to the others that torchrun started, for the length of the block.

    A cluster on this machine is started with as many CPUs as there are workers. A connection that the caller has made
    is used, and left open.

    Raises:
        UserError: if the cluster cannot be reached.
    """
    if cluster is None:
        with process_group(device):
            yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a study tells nobody that it runs
    import ray

    if ray.is_initialized():
        yield
        return
    elsewhere = cluster.address or os.environ.get("RAY_ADDRESS")
    try:
        if elsewhere:
            _knock(elsewhere)
        ray.init(
            address=cluster.address,
            num_cpus=None if elsewhere else workers,
            include_dashboard=None if elsewhere else False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"cannot connect to the Ray cluster at {elsewhere or 'this machine'}: {reason}; `ray status` on its head "
            "node tells whether it runs"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise an OSError if nothing listens at an address with a port; Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()
