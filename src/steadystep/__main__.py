"""`python -m steadystep` is the command `steadystep`."""

from steadystep.cli import main

if __name__ == "__main__":
    main()
