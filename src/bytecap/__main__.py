"""`python -m bytecap`: the command line without an installed script."""

from bytecap.cli import main

if __name__ == "__main__":
    main()
