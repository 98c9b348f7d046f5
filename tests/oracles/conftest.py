"""The oracles are collected only where the libraries that they ask are installed: under `make oracles`."""

import os
from importlib.util import find_spec

if find_spec("optax") is None:
    collect_ignore_glob = ["*"]
else:  # read when they are imported, which the table does
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["JAX_PLATFORMS"] = "cpu"
