"""The whole way in Python: text, tokens, a trained model, a file under a cap, and its score in bits per byte.

usage: python examples/text_to_score.py [FOLDER_WITH_TEXT]      by default the pages in docs/
"""

import sys
import tempfile
from pathlib import Path

import bytecap
from bytecap.report.console import Console
from bytecap.run import pipeline
from bytecap.run.recipe import resolve

SETTINGS = [
    "text.vocab_size=400", "model.n_layers=2", "model.d_model=32", "model.d_ff=64", "train.steps=60", "train.batch=4",
    "train.context=64", "quant.calibration_tokens=4096", "artifact.cap_bytes=24kB",
]  # fmt: skip
"""So small that it takes seconds; a recipe's own settings make a model worth having."""


def main() -> None:
    """Run the stages in one call and print what the record says."""
    text = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).parents[1] / "docs")
    recipe = resolve("baseline", track="laptop", text=[text], overrides=SETTINGS)
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        record = pipeline.run(recipe, run, "cpu", Console(quiet=True))
        again = bytecap.score(run / "model.bcap", text=__file__)
        written = bytecap.generate(run / "model.bcap", "The", tokens=10)
    scores, file = record["scores"], record["artifact"]
    print(f"{file['bytes']:,} of {file['cap_bytes']:,} bytes")
    print(f"before fitting  {scores['before']['bits_per_byte']:.4f} bits per byte")
    print(f"after fitting   {scores['after']['bits_per_byte']:.4f} bits per byte")
    print(f"on this script  {again.bits_per_byte:.4f} bits per byte")
    print(f"it goes on      {written!r}")


if __name__ == "__main__":
    main()
