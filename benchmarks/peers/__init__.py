"""Other quantization tools, each run in an environment of its own by peer_worker.py."""
