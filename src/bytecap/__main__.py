"""`python -m bytecap`: the command line without an installed script."""

from bytecap.commands.app import main

if __name__ == "__main__":
    main()
