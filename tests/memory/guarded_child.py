"""`python -m memory.guarded_child SET FIRST` runs the cases of a set from number FIRST on, naming each before it."""

import faulthandler
import sys

from memory.guarded_cases import SETS
from memory.guarded_pages import Pages


def main() -> None:
    """Run the cases; print a line before each, and one for each that fails without ending the process."""
    faulthandler.enable()
    name, first = sys.argv[1:]
    cases = SETS[name]()
    for number, case in enumerate(cases[int(first) :], int(first)):
        print("running", number, case, flush=True)
        with Pages(case.place) as pages:
            try:
                case.run(pages)
            except Exception as error:  # noqa: BLE001 - one line for each case, whatever it raises
                print("failed", number, f"{case}: {type(error).__name__}: {error}".splitlines()[0], flush=True)
    print("done", len(cases), flush=True)


if __name__ == "__main__":
    main()
