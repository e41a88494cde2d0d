"""Tests of huggingface/."""
