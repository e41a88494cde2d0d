"""Causal language models of Hugging Face: a folder in, measured, fitted, scored, and read back from a `.bcap` file."""
