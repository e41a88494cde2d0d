"""Corpora, tokenizers and token shards: prepared, scored and fitted with.

In:   a generator, the valid files, an empty folder.
Out:  exit codes. The input lies in the folder, so that a finding can be kept.
"""

from __future__ import annotations

import gzip
import random
import shutil
from pathlib import Path
from typing import Any

import zstandard

from tests.fuzz.material import Material
from tests.fuzz.mutate import (
    NESTED_OF_A_TOKENIZER,
    NUMBERS,
    WORDS,
    dump_json,
    mutate_bytes,
    mutate_message,
    strange_value,
)
from tests.runs import call


def tokenizer(rng: random.Random, material: Material, folder: Path) -> list[int]:
    """A damaged SentencePiece model: text prepared with it, and a checkpoint fitted with it."""
    path = folder / "input.model"
    valid = material.tokenizer.read_bytes()
    wrong = mutate_bytes(rng, valid) if rng.random() < 0.3 else mutate_message(rng, valid, NESTED_OF_A_TOKENIZER)
    path.write_bytes(wrong)
    words = ("--text", material.corpus, f"--set=text.tokenizer={path}", "--out", folder / "run", "--quiet")
    codes = [call("prepare", "baseline", *words)]
    if rng.random() < 0.3:
        out = folder / "out.bcap"
        given = ("--text", material.text, "--tokenizer", path, "--out", out, "--cap", "9kB", "--quiet")
        codes.append(call("fit", material.checkpoint, *given, "--set=quant.calibration_tokens=256"))
    return codes


def corpus(rng: random.Random, material: Material, folder: Path) -> list[int]:
    """Files of odd bytes, structure and names: prepared as a corpus, and scored."""
    place = folder / "corpus"
    place.mkdir()
    for _ in range(rng.choice((1, 1, 2, 5))):
        _write_text(rng, place)
    if rng.random() < 0.7:  # enough that preparing does not stop for want of text
        shutil.copy(material.corpus / "document_00.txt", place)
        shutil.copy(material.corpus / "document_01.txt", place)
    given = rng.choice([str(path) for path in (place, place / "*", place / "**" / "*", *sorted(place.iterdir()))])
    sets = [
        word
        for word in ("--set=text.strict=true", "--set=text.document_length=100", "--set=text.field=other")
        if rng.random() < 0.15
    ]
    codes = [
        call("prepare", "--text", given, "--set=text.vocab_size=300", *sets, "--out", folder / "run", "--quiet"),
        call("score", material.artifacts[0], "--text", given, *sets, "--quiet", "--json"),
    ]
    if rng.random() < 0.1:
        codes.append(call("fit", material.checkpoint, "--text", given, "--tokenizer", material.tokenizer, "--dry-run",
                          "--cap", "9kB", "--quiet"))  # fmt: skip
    return codes


def _write_text(rng: random.Random, place: Path) -> None:
    if rng.random() < 0.5:
        suffix, data = ".jsonl", "\n".join(_json_line(rng) for _ in range(rng.choice((0, 1, 3, 40)))).encode()
    else:
        suffix = rng.choice((".txt", ".py", ".TXT", ".md", ".json", "", ".csv"))
        data = _odd_text(rng).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        data = mutate_bytes(rng, data)
    match rng.randrange(6):
        case 0:
            data, suffix = gzip.compress(data, mtime=0), suffix + ".gz"
        case 1:
            data, suffix = zstandard.ZstdCompressor().compress(data), suffix + ".zst"
        case 2:
            suffix += rng.choice((".gz", ".zst", ".GZ"))
    if rng.random() < 0.3:
        data = mutate_bytes(rng, data, data)
    if rng.random() < 0.1:
        data *= 2  # frames one behind the other
    stem = rng.choice(("a", "b", "[ab]", "c d", "\x1b[31mred", "*", "\u00fc", ".hidden", "x" * 200, "\udcff"))
    (place / f"{stem}{rng.randrange(100)}{suffix}").write_bytes(data)


def _odd_text(rng: random.Random) -> str:
    parts = []
    for _ in range(rng.choice((0, 1, 10, 200))):
        parts.append(
            rng.choice(
                ("the model has one cap\n", rng.choice(WORDS)[:300], "\r\n", "\t", "\x00", "\ufeff", "e\u0301",
                 "\uff21", "  ", "\u2028", "\u00a0", "a" * 2000, "<s>", "\u2581x", "\n\n\n",
                 chr(rng.randrange(0x10FFFF)))
            )
        )  # fmt: skip
    return "".join(parts)


def _json_line(rng: random.Random) -> str:
    row: Any = rng.choice((
        {"text": _odd_text(rng)}, {"text": "the model has one cap"}, {"other": "x"}, _odd_text(rng),
        {"text": strange_value(rng)}, strange_value(rng),
    ))  # fmt: skip
    return dump_json(rng, row)


def shards(rng: random.Random, material: Material, folder: Path) -> list[int]:
    """Token shards in the contest's format with wrong headers, lengths, ids, names and tokenizers."""
    place = folder / "shards"
    place.mkdir()
    for split in ("train", "val"):
        (source,) = (material.run / "tokens").glob(f"*_{split}_*.bin")
        data = source.read_bytes()
        names = [source.name]
        if rng.random() < 0.3:
            names = [source.name.replace("000000", number) for number in rng.sample(("000000", "000001", "000003"), 2)]
        for name in names:
            wrong = _wrong_shard(rng, data) if rng.random() < 0.6 else data
            (place / name).write_bytes(wrong)
            if split == "val" and rng.random() < 0.2:
                sidecar = bytearray(wrong)
                sidecar[1024:] = b"".join(
                    rng.randrange(9).to_bytes(2, "little") for _ in range((len(wrong) - 1024) // 2)
                )
                (place / name.replace("_val_", "_val_bytes_")).write_bytes(sidecar)
    model = folder / "input.model"
    model.write_bytes(material.tokenizer.read_bytes())
    if rng.random() < 0.2:
        model.write_bytes(mutate_message(rng, model.read_bytes(), NESTED_OF_A_TOKENIZER))
    sets = (f"--set=text.shards={place}", f"--set=text.tokenizer={model}")
    codes = [call("prepare", "baseline", *sets, "--out", folder / "run", "--quiet")]
    if codes[0] == 0 and rng.random() < 0.3:
        codes.append(call("prepare", "baseline", *sets, "--out", folder / "run", "--quiet"))
    return codes


def _wrong_shard(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    match rng.randrange(5):
        case 0:
            at = 4 * rng.randrange(4)
            changed[at : at + 4] = (rng.choice(NUMBERS) & 0xFFFFFFFF).to_bytes(4, "little")
        case 1:
            tokens = rng.choice((0, 1, 2, 3, 50))
            changed[8:12] = tokens.to_bytes(4, "little")
            del changed[1024 + 2 * tokens :]
        case 2:
            for _ in range(rng.choice((1, 5, 100))):
                at = 1024 + 2 * rng.randrange((len(changed) - 1024) // 2)
                changed[at : at + 2] = rng.choice((0, 1, 2, 3, 4, 200, 299, 300, 65_535)).to_bytes(2, "little")
        case 3:
            changed[1024:] = b"\x01\x00" * ((len(changed) - 1024) // 2)
        case _:
            return mutate_bytes(rng, data)
    return bytes(changed)
