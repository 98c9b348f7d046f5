"""Run the command `steadystep` as `python -m steadystep`."""

from steadystep.cli import main

if __name__ == "__main__":
    main()
