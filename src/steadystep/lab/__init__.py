"""The lab: tasks, studies, statistics and reports for comparing optimizers. Requires the extra `steadystep[lab]`.

`compare` and `reproduce` run a study and return it as `StudyData`; `load` reads the folder of a study. Each of them is
imported when it is first used, because the lab's dependencies take seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadystep.lab.data.load import load
    from steadystep.lab.data.run import compare, reproduce
    from steadystep.lab.data.study_data import StudyData

__all__ = ["StudyData", "compare", "load", "reproduce"]

_MODULES = {"StudyData": "study_data", "compare": "run", "load": "load", "reproduce": "run"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"steadystep.lab.data.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
