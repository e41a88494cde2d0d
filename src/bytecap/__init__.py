"""bytecap: the best language model in N bytes."""

__version__ = "0.1.0"
