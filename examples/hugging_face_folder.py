"""A Hugging Face folder in and out: made here, fitted under a byte cap, exported, opened with transformers.

usage: python examples/hugging_face_folder.py

What is done with `bytecap([...])` here is `bytecap fit FOLDER --text text.txt --cap 15kB -o small.bcap` and
`bytecap export small.bcap OUT --to hf` on a command line. It needs `pip install 'bytecap[hf]'`.
"""

import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from bytecap.commands.app import main as bytecap

TEXT = [
    f"{a} small {b} reads {c} long text.\n" for a in "aeiou" for b in ("model", "cat", "fox") for c in ("one", "no")
]


def make_folder(folder: Path) -> None:
    """A small Llama model trained for some seconds, and its tokenizer, as `save_pretrained` writes them."""
    torch.manual_seed(0)
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer, pieces.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    pieces.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(vocab_size=280, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, bos_token="<s>", eos_token="<s>")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    rows = [torch.tensor([[0, *tokenizer.encode(line)]]) for line in TEXT]
    for row_1T in 2 * rows:
        optimizer.zero_grad()
        model(input_ids=row_1T, labels=row_1T).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def describe(name: str, folder: Path, size: int) -> None:
    """Bytes, the loss of the text, and how a sentence goes on, by transformers alone."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    rows = [torch.tensor([[0, *tokenizer.encode(line)]]) for line in TEXT]
    with torch.no_grad():
        loss = sum(float(model(input_ids=row_1T, labels=row_1T).loss) for row_1T in rows) / len(rows)
        prompt_1T = torch.tensor([[0, *tokenizer.encode("a small cat")]])
        written = model.generate(prompt_1T, max_new_tokens=6, do_sample=False, pad_token_id=0)[0]
    said = tokenizer.decode(written, skip_special_tokens=True)
    print(f"{name:<9}{size:>8,} bytes  {loss:.3f} nats per token  {said!r}")


def main() -> None:
    """Make, fit, export, open."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_folder(folder / "original")
        (folder / "text.txt").write_text("".join(TEXT))
        small, out = folder / "small.bcap", folder / "out"
        bytecap(
            [
                "fit",
                str(folder / "original"),
                "--text",
                str(folder / "text.txt"),
                "--cap",
                "15kB",
                "-o",
                str(small),
                "--quiet",
            ]
        )
        bytecap(["export", str(small), str(out), "--to", "hf"])
        describe("original", folder / "original", sum(path.stat().st_size for path in (folder / "original").iterdir()))
        describe("fitted", out, small.stat().st_size)


if __name__ == "__main__":
    main()
