"""What a caller may ask of a Ray cluster, and the data as nodes get them. Nothing here needs a cluster."""

import pickle
from pathlib import Path

import pytest
import torch

from steadystep.lab.choices import Where
from steadystep.lab.errors import UserError
from steadystep.lab.execution import cluster as module
from steadystep.lab.execution.cluster import Cluster, cluster_options, find_cluster, trial_device
from steadystep.lab.execution.shared_splits import SharedSplits, in_memory
from steadystep.lab.tasks import find_task
from tiny_study import load


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("processes", "auto", None, None), "--address says how trials run on Ray: add --executor ray, or leave it"),
        (("processes", None, 0.5, None), "--num-gpus says how trials run on Ray: add --executor ray, or leave it out"),
        (("ray", None, 0.5, None), "--num-gpus is the share of a GPU that a trial takes: add --device cuda, or leave"),
        (("ray", None, 0.0, "cuda"), "--num-gpus must be more than 0 and at most 1, because a trial uses one GPU; got"),
        (("ray", None, 2.0, "cuda"), "one GPU; got 2"),
        (("ray", None, float("nan"), "cuda"), "one GPU; got nan"),
        (("ray", None, None, "cuda:1"), "on cpu or on cuda, and Ray chooses which GPU; got 'cuda:1'"),
    ],
)
def test_a_wrong_wish_is_refused(options: tuple[Where, str | None, float | None, str | None], text: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError) as refusal:
        find_cluster(*options)
    assert text in str(refusal.value) and "\n" not in str(refusal.value)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'steadystep\[ray\]'"):
        find_cluster("ray", None, None, None)
    assert find_cluster("processes", None, None, "cpu") is None


def test_the_options_of_a_command_come_back() -> None:
    pytest.importorskip("ray")
    assert find_cluster("ray", None, None, None) == Cluster()
    assert find_cluster("ray", "h:1", 0.25, "cuda") == Cluster("h:1", 0.25)
    assert find_cluster("ray", None, None, "cuda") == Cluster(None, 1.0)
    assert cluster_options(Cluster("h:1", 0.25)) == {"executor": "ray", "address": "h:1", "num-gpus": 0.25}
    assert cluster_options(Cluster()) == {"executor": "ray", "address": None, "num-gpus": None}
    assert cluster_options(None) == {}


def test_the_device_of_a_node_need_not_exist_here() -> None:
    assert trial_device("cuda", Cluster(num_gpus=1.0)) == torch.device("cuda")
    assert trial_device(None, Cluster()) == torch.device("cpu")


@pytest.mark.parametrize("task", ["digits-mlp", "rnn-addition"])
def test_shared_data_are_the_data(task: str) -> None:
    splits = find_task(task).load(None)
    assert in_memory(splits)
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(SharedSplits(splits), protocol=5, buffer_callback=buffers.append)
    # A node's memory is read-only, and so are bytes.
    shared = pickle.loads(content, buffers=[bytes(buffer.raw()) for buffer in buffers]).splits
    assert shared.fingerprint == splits.fingerprint
    order = torch.arange(7)
    for part in ("train", "val", "test"):
        mine, theirs = getattr(splits, part), getattr(shared, part)
        assert len(mine) == len(theirs)
        for batch, other in zip(mine.stream(order, 3, 1), theirs.stream(order, 3, 1), strict=True):
            assert torch.equal(batch.x, other.x) and torch.equal(batch.y, other.y)


def test_a_tensor_travels_outside_the_pickle() -> None:
    splits = load(None)
    buffers: list[pickle.PickleBuffer] = []
    content = pickle.dumps(SharedSplits(splits), protocol=5, buffer_callback=buffers.append)
    assert len(content) < 2_000 and sum(len(buffer.raw()) for buffer in buffers) > splits.train.x.nbytes


def test_an_address_where_nothing_runs_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    nothing = module.connected(Cluster("127.0.0.1:1"), workers=1)
    with pytest.raises(UserError, match=r"cannot connect to the Ray cluster at 127\.0\.0\.1:1: ") as refusal, nothing:
        raise AssertionError("there is no cluster")
    assert "\n" not in str(refusal.value)
