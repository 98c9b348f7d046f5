"""digits-mlp: a small MLP on scikit-learn's 1,797 handwritten digits of 8x8 pixels, without a download."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from steadystep.lab.tasks.arms import paper_arms
from steadystep.lab.tasks.array_cache import cached_arrays
from steadystep.lab.tasks.data import fingerprint_arrays
from steadystep.lab.tasks.networks.mlp import make_mlp
from steadystep.lab.tasks.splits import Arrays, Splits
from steadystep.lab.tasks.task import Task

SHARES = (0.6, 0.2, 0.2)


def load(data: Path | None) -> Splits[Arrays]:
    """Return fixed splits: 60%, 20% and 20% of every class for training, validation and test. `data` is ignored."""
    digits = cached_arrays("digits", f"scikit-learn {version('scikit-learn')}", _digits)
    images, labels = digits["images"], digits["labels"]
    parts = _stratified(labels)
    train = images[parts[0]] / 16
    mean, std = train.mean(), train.std()
    train, val, test = (
        Arrays(torch.from_numpy(((images[part] / 16 - mean) / std).astype(np.float32)), torch.from_numpy(labels[part]))
        for part in parts
    )
    arrays = [array for part in parts for array in (images[part], labels[part])]
    return Splits(train, val, test, fingerprint_arrays(*arrays))


def model() -> torch.nn.Module:
    """Return a new MLP with hidden layers of 256 and 128 units."""
    return make_mlp((64, 256, 128, 10))


def _digits() -> dict[str, np.ndarray]:
    # Imported only when the arrays are not cached: the import takes longer than a hundred trials.
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return {"images": np.asarray(images, np.uint8), "labels": np.asarray(labels, np.int64)}


def _stratified(labels: np.ndarray) -> list[np.ndarray]:
    # The streams of RandomState are frozen; those of default_rng may change between versions of NumPy.
    random = np.random.RandomState(0)
    parts: list[list[int]] = [[], [], []]
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        cuts = np.round(np.cumsum(SHARES[:2]) * len(members)).astype(int)
        for part, indices in zip(parts, np.split(members, cuts), strict=True):
            part.extend(indices.tolist())
    return [np.sort(part) for part in parts]


TASK = Task(
    name="digits-mlp",
    title="Handwritten digits 8x8, MLP 64-256-128-10",
    dataset="scikit-learn's digits (bundled)",
    classes=10,
    load=load,
    model=model,
    arms=paper_arms(sgd=(0.02, 4.0), adam=(1e-3, 5e-2), settings=12, quantiles=(0.1, 0.5, 0.9)),
    batch_size=64,
    budgets=(1, 2, 4, 8, 15),
    seeds=10,
    tune_seeds=2,
    margin=0.005,
    target_accuracy=0.96,
    target_loss=0.05,
    looks=(20, 40, 80, 160),
    replicas=32,
)
