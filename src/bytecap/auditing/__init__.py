"""The rules of an honest score, each asked of a run, a file or any model by a mechanical test."""
