"""Checkpoints and the other products of a run, damaged: every verb that opens them.

In:   a generator, the valid files, an empty folder.
Out:  exit codes. The input lies in the folder, so that a finding can be kept.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy

from bytecap.convert.kinds import KINDS
from bytecap.core.digest import digest_arrays, digest_json
from tests.contracts.kinds import WRITERS, make_arrays
from tests.fuzz.containers import read_safetensors, write_safetensors
from tests.fuzz.material import Material, run_arguments
from tests.fuzz.mutate import dump_json, mutate_bytes, mutate_json, strange_value
from tests.runs import call


def checkpoint(rng: random.Random, material: Material, folder: Path) -> list[int]:
    """A safetensors file, ours or foreign, with wrong metadata, types and shapes: fitted."""
    path = folder / "input.safetensors"
    path.write_bytes(_wrong_safetensors(rng, rng.choice((material.checkpoint, material.foreign)).read_bytes()))
    given = ["--cap", rng.choice(("3kB", "9kB")), "--quiet"]
    if rng.random() < 0.3:
        given += ["--text", str(material.text), "--tokenizer", str(material.tokenizer)]
        given += ["--set=quant.calibration_tokens=256"]
    given += ["--dry-run"] if rng.random() < 0.6 else ["--out", str(folder / "out.bcap")]
    return [call("fit", path, *given)]


def _wrong_safetensors(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.15:
        return mutate_bytes(rng, data)
    header, body = read_safetensors(data)
    match rng.randrange(5):
        case 0 if "__metadata__" in header:
            about = header["__metadata__"]
            inner = mutate_json(rng, json.loads(about["bytecap"])) if rng.random() < 0.8 else strange_value(rng)
            about["bytecap"] = dump_json(rng, inner)
        case 1:
            row = header[rng.choice([key for key in header if key != "__metadata__"])]
            row["dtype"] = rng.choice(
                ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I64", "I8", "U8", "BOOL", "F4", "U16")
            )
        case 2:
            row = header[rng.choice([key for key in header if key != "__metadata__"])]
            count = (row["data_offsets"][1] - row["data_offsets"][0]) // 4
            row["shape"] = rng.choice(([count], [1, count], [count, 1], [1, 1, count], [1] * 9 + [count], [], [0]))
        case 3:
            values = bytearray(body)
            for _ in range(rng.choice((1, 100))):
                at = 4 * rng.randrange(len(values) // 4)
                values[at : at + 4] = rng.choice(
                    (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\1\0\0\0", bytes(4), rng.randbytes(4))
                )
            body = bytes(values) if rng.random() < 0.7 else bytes(len(values))
        case _:
            header = mutate_json(rng, header)
    changed = write_safetensors(dump_json(rng, header), body)
    return _with_its_digest(header, changed) if rng.random() < 0.9 else changed


def _with_its_digest(header: Any, data: bytes) -> bytes:
    """The file with the digest that its content has, where it can be computed; a checkpoint may be without."""
    try:
        about = header["__metadata__"]
        if not about.pop("digest", ""):
            return data
        if not any(key.startswith("model/") for key in header):  # a calibration
            arrays = safetensors.numpy.load(data)
            about["digest"] = digest_json([json.loads(about["bytecap"]), digest_arrays(dict(sorted(arrays.items())))])
        body = read_safetensors(data)[1]  # not of a header whose numbers Python itself refuses to read
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return data
    return write_safetensors(json.dumps(header), body)


def convert(rng: random.Random, material: Material, folder: Path) -> list[int]:
    """A damaged checkpoint, of `torch.save` or of another kind: converted, and fitted where that went."""
    path, out = folder / "input.pt", folder / "out.safetensors"
    data = material.pickled.read_bytes()
    kind = rng.choice(sorted(WRITERS))
    if kind == "pytorch" or rng.random() < 0.5:
        path.write_bytes(mutate_bytes(rng, data) if rng.random() < 0.3 else _wrong_archive(rng, data))
    else:
        path = folder / f"input{KINDS.find(kind).suffixes[0]}"
        WRITERS[kind](path, make_arrays())
        path.write_bytes(mutate_bytes(rng, path.read_bytes()))
    key = ("--key", rng.choice(("model", "ema.shadow", "ema", ".", "nowhere", "step")))
    codes = [call("convert", path, out, *(key if rng.random() < 0.7 else ()))]
    if codes[0] == 0:
        codes.append(call("fit", out, "--cap", "3kB", "--dry-run", "--quiet"))
    return codes


def _wrong_archive(rng: random.Random, data: bytes) -> bytes:
    """One entry of the zip file changed, dropped or doubled, its checksum right."""
    entries = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    pickles = [index for index, (name, _) in enumerate(entries) if name.endswith("data.pkl")]
    at = pickles[0] if rng.random() < 0.6 else rng.randrange(len(entries))
    name, content = entries[at]
    match rng.randrange(6):
        case 0:
            del entries[at]
        case 1:
            entries[at] = (rng.choice(("../up", "/root", name.upper(), name + "/x", "a" * 300)), content)
        case _:
            entries[at] = (name, mutate_bytes(rng, content))
    written = io.BytesIO()
    with zipfile.ZipFile(
        written, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    ) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content)
    return written.getvalue()


def products(rng: random.Random, material: Material, folder: Path) -> list[int]:
    """A run folder in which one file is damaged, missing, or a folder: every verb that opens it."""
    run = folder / "run"
    shutil.copytree(material.run, run)
    path = rng.choice(sorted(p for p in run.rglob("*") if p.is_file() and p.name != "recipe.toml"))
    data = path.read_bytes()
    match rng.randrange(8):
        case 0:
            path.unlink()
        case 1:
            path.unlink()
            path.mkdir()
        case 2:
            path.write_bytes(mutate_bytes(rng, data))
        case _ if path.suffix == ".json":
            path.write_text(dump_json(rng, mutate_json(rng, json.loads(data))), "utf-8")
        case _ if path.suffix == ".jsonl":
            lines = data.decode().splitlines()
            at = rng.randrange(len(lines))
            lines[at] = dump_json(rng, mutate_json(rng, json.loads(lines[at])))
            path.write_text("\n".join(lines) + "\n", "utf-8")
        case _ if path.suffix == ".safetensors":
            path.write_bytes(_wrong_safetensors(rng, data))
        case _:
            path.write_bytes(mutate_bytes(rng, data))
    name = str(run)
    verbs: list[list[str]] = [
        ["score", name, "--quiet"], ["generate", name, "the", "--tokens", "3", "--json"], ["inspect", name, "--json"],
        ["train", name, "--quiet"], ["fit", name, "--dry-run", "--quiet"], ["fit", name, "--quiet"],
        run_arguments(material.corpus, run),
    ]  # fmt: skip
    return [call(*verb) for verb in rng.sample(verbs, rng.choice((1, 1, 2)))]
