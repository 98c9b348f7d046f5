"""The adapters are collected only where their trainers are installed, as in `make integrations`."""

from importlib.util import find_spec

_NEEDS = {"lightning": "lightning", "accelerate": "accelerate", "transformers": "transformers"}
_NEEDS |= dict.fromkeys(("track_missing", "track_study"), "typer")  # the lab's

collect_ignore = [f"test_{name}.py" for name, package in _NEEDS.items() if find_spec(package) is None]
