"""Make the run that `--run FILE.py:FUNCTION` names."""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from steadystep.lab.errors import UserError

FORM = "FILE.py:make_run"


class RunFileError(UserError):
    """The file or the function of a run does not exist, or fails."""


def make_run(spec: str) -> Any:
    """Import the file, call the function and return what it returns.

    The folder of the file is on the path of imports, as when Python runs it.

    Raises:
        RunFileError: if there is no such file or function, or if it fails. The message is one line.
    """
    name, colon, function = spec.rpartition(":")
    file = Path(name if colon else spec)
    if not colon or not function.isidentifier():
        raise RunFileError(f"--run takes {FORM}, got {spec!r}")
    if not file.is_file():
        raise RunFileError(f"--run {spec}: there is no file {file}")
    module = _called(lambda: _imported(file), f"{file} cannot be imported", file)
    make = getattr(module, function, None)
    if not callable(make):
        known = [each for each, value in vars(module).items() if callable(value) and each.startswith("make")]
        hint = f"; it has {', '.join(known)}" if known else ""
        raise RunFileError(f"--run {spec}: {file} has no function {function}{hint}")
    return _called(make, f"{function}() fails", file)


def _imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file: its name must end with .py")
    sys.path.insert(0, str(file.resolve().parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(file.stem, module)  # classes and workers look their module up by its name
    spec.loader.exec_module(module)
    return module


def _called(function: Callable[[], Any], what: str, file: Path) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:  # a script may end in sys.exit, or parse the command's arguments
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename).resolve() == file.resolve()
        ]
        where = f" in line {lines[-1]}" if lines else ""
        said = str(error).strip().splitlines()
        raise RunFileError(f"{what}{where}: {type(error).__name__}{f': {said[0]}' if said else ''}") from error
