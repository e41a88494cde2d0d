"""The tokens folder holds both splits, apart, with digests that follow the content."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bytecap.core.errors import ConfigError, DataError
from bytecap.core.progress import Silent
from bytecap.text.byte_check import check_table
from bytecap.text.byte_counts import build_table
from bytecap.text.config import TextConfig
from bytecap.text.prepare import changed_file, digest_contents, encode_documents, prepare
from bytecap.text.shards import ShardWriter, TokenStream
from bytecap.text.tokenizer_training import train_tokenizer
from bytecap.text.tokens import Tokens, load_tokens, with_file_digests
from tests.conftest import make_document
from tests.progress import Notes
from tests.text.tokenizers import CONTEST, LLAMA, make_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "run_0_1"


def config(corpus: Path, **more: object) -> TextConfig:
    values = {"paths": (str(corpus),), "vocab_size": 300, "validation_fraction": 0.3, "validation_bytes": 50_000}
    return TextConfig(**{**values, **more})  # type: ignore[arg-type]


def test_both_splits_together_are_the_corpus(corpus: Path, tmp_path: Path) -> None:
    """Decoded, training and validation documents are disjoint and together everything."""
    tokens = prepare(config(corpus), tmp_path, Silent())
    tokenizer = tokens.tokenizer
    train = {tokenizer.decode(d.tolist()) for d in tokens.train_stream().documents(1)}
    held = [tokenizer.decode(d.tolist()) for d in tokens.validation_stream().documents(1)]
    assert held == tokens.validation_documents() and held
    assert not train & set(held)
    assert train | set(held) == {make_document(i) for i in range(40)}
    assert tokens.validation_bytes == sum(len(d.encode()) for d in held)
    assert load_tokens(tmp_path) == tokens


def test_digests_follow_content(corpus: Path, tmp_path: Path) -> None:
    """The same text gives the same digests from anywhere; another document or split gives others."""
    first = prepare(config(corpus), tmp_path / "a", Silent())
    again = prepare(config(corpus), tmp_path / "b", Silent())
    assert (first.digest, first.corpus_digest) == (again.digest, again.corpus_digest)
    other = prepare(config(corpus, validation_fraction=0.2), tmp_path / "c", Silent())
    assert other.corpus_digest != first.corpus_digest
    same_split = prepare(config(corpus, vocab_size=310), tmp_path / "d", Silent())
    assert same_split.corpus_digest == first.corpus_digest and same_split.digest != first.digest


def test_case_is_factored_out_and_counted_as_it_was(corpus: Path, tmp_path: Path) -> None:
    """Documents come back with their capitals, their bytes are those of the raw text, and fewer pieces are needed."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for i in range(40):
        (folder / f"{i}.txt").write_text(make_document(i).title() + "\uf5c0")
    tokens = prepare(config(folder, transform="case"), tmp_path / "a", Silent())
    plain = prepare(config(folder), tmp_path / "b", Silent())
    held = [tokens.tokenizer.decode(d.tolist()) for d in tokens.validation_stream().documents(1)]
    assert held == tokens.validation_documents() == plain.validation_documents() and held[0].endswith("\uf5c0")
    check = check_table(build_table(tokens.tokenizer), tokens.tokenizer, tokens.validation_stream(), raw=held)
    assert check.counted == check.decoded == check.raw == tokens.validation_bytes == plain.validation_bytes
    assert (tokens.corpus_digest, tokens.digest != plain.digest) == (plain.corpus_digest, True)


def test_a_given_tokenizer_carries_its_transform(corpus: Path, tmp_path: Path) -> None:
    """Both ways, for documents and for shards; where the settings ask for another one, that is said."""
    case = prepare(config(corpus, transform="case"), tmp_path / "case", Silent())
    plain = prepare(config(corpus), tmp_path / "plain", Silent())
    for made, has in ((case, "case"), (plain, "none")):
        path = str(made.folder / "tokenizer.model")
        for asked in ("case", "none"):
            for given in (
                config(corpus, tokenizer=path, transform=asked),
                TextConfig(shards=str(made.folder), tokenizer=path, transform=asked),
            ):
                progress = Notes()
                found = prepare(given, tmp_path / "used", progress)
                assert (found.tokenizer_digest, found.train_tokens) == (made.tokenizer_digest, made.train_tokens)
                said = [f"text.transform = {asked} is for a tokenizer that is trained here", f"its own ({has})"]
                assert any(all(part in note for part in said) for note in progress.notes) == (asked != has)
    with pytest.raises(ConfigError, match=r"text\.vocab_size is 261; with text\.transform = case .* at least 265"):
        config(corpus, vocab_size=261, transform="case")


def test_shared_documents_are_refused(corpus: Path, tmp_path: Path) -> None:
    """Held-out text that also trains: the number and examples."""
    held = tmp_path / "held.jsonl"
    held.write_text("".join(json.dumps({"text": make_document(i)}) + "\n" for i in (3, 4, 5, 6, 900)))
    with pytest.raises(DataError, match=r"4 documents stand in training and in validation, such as '.*'; '.*'; '.*'\."):
        prepare(config(corpus, validation_paths=(str(held),)), tmp_path / "t", Silent())
    held.write_text(json.dumps({"text": make_document(900)}) + "\n")
    tokens = prepare(config(corpus, validation_paths=(str(held),)), tmp_path / "t", Silent())
    assert tokens.validation_documents() == [make_document(900)]


def test_shared_documents_in_shards_are_refused(corpus: Path, tmp_path: Path) -> None:
    """The same for shards: a validation document among the training tokens."""
    tokens = prepare(config(corpus), tmp_path / "a", Silent())
    shards = TextConfig(shards=str(tmp_path / "a"), tokenizer=str(tmp_path / "a" / "tokenizer.model"))
    used = prepare(shards, tmp_path / "b", Silent())
    assert (used.train_tokens, used.validation_tokens) == (tokens.train_tokens, tokens.validation_tokens)
    train, held = tmp_path / "a" / "fineweb_train_000000.bin", tmp_path / "a" / "fineweb_val_000000.bin"
    held.write_bytes(train.read_bytes())
    with pytest.raises(DataError, match="documents stand in training and in validation"):
        prepare(shards, tmp_path / "c", Silent())


def test_another_tokenizer_for_shards_is_noticed(corpus: Path, tmp_path: Path) -> None:
    """A tokenizer of the same size that was learned from other text, and one too small for the ids."""
    prepare(config(corpus), tmp_path / "a", Silent())
    other, smaller = tmp_path / "other.model", tmp_path / "smaller.model"
    other.write_bytes(train_tokenizer([make_document(i).swapcase()[::-1] for i in range(20)], 300).model)
    smaller.write_bytes(train_tokenizer((make_document(i) for i in range(20)), 280).model)
    with pytest.raises(DataError, match="not the tokenizer these shards were made with"):
        prepare(TextConfig(shards=str(tmp_path / "a"), tokenizer=str(other)), tmp_path / "b", Silent())
    with pytest.raises(DataError, match=r"beyond the vocabulary of 2\d\d; shards and tokenizer do not belong together"):
        prepare(TextConfig(shards=str(tmp_path / "a"), tokenizer=str(smaller)), tmp_path / "b", Silent())


def test_existing_tokenizer_and_outside_text(corpus: Path, tmp_path: Path) -> None:
    """A given model is used as it is, and any text can be encoded for scoring."""
    first = prepare(config(corpus), tmp_path / "a", Silent())
    path = str(tmp_path / "a" / "tokenizer.model")
    second = prepare(config(corpus, tokenizer=path, vocab_size=999), tmp_path / "b", Silent())
    assert second.tokenizer_digest == first.tokenizer_digest and second.vocab_size == first.vocab_size
    folder = tmp_path / "c"
    folder.mkdir()
    shards, raw = encode_documents(config(corpus), first.tokenizer, folder, Silent())
    assert raw == sum(len(make_document(i).encode()) for i in range(40))
    assert len(TokenStream(shards)) == first.train_tokens + first.validation_tokens


def test_one_long_text_is_cut(tmp_path: Path) -> None:
    """A single book: too long to be held out whole, so it is cut shorter, and the manifest says so."""
    book = tmp_path / "book.txt"
    text = "".join(make_document(i, 2000) for i in range(30))
    book.write_text(text, encoding="utf-8")
    tokens = prepare(config(book, validation_fraction=0.1, validation_bytes=262_144), tmp_path / "t", Silent())
    assert tokens.document_length == 16_384
    held = tokens.validation_documents()
    assert held and sum(len(d.encode()) for d in held) <= 0.1 * len(text.encode())
    tokenizer = tokens.tokenizer
    train = [tokenizer.decode(d.tolist()) for d in tokens.train_stream().documents(1)]
    assert sum(map(len, train + held)) == len(text) and all(d in text for d in train + held)


def test_one_short_text_is_cut(tmp_path: Path) -> None:
    """A single file that would be held out whole is cut into some 32 documents; one that cannot be is told so."""
    path = tmp_path / "one.txt"
    path.write_text("".join(make_document(i) for i in range(20)))
    tokens = prepare(TextConfig(paths=(str(path),), vocab_size=300), tmp_path / "tokens", Silent())
    assert tokens.document_length == path.stat().st_size // 32
    assert 1 <= len(tokens.validation_documents() or ()) < 8 and tokens.train_tokens > tokens.validation_tokens
    (lines := tmp_path / "one.jsonl").write_text(json.dumps(path.read_text()))
    with pytest.raises(DataError, match=r"one\.jsonl is one document of [\d,]+ bytes, which is held out"):
        prepare(TextConfig(paths=(str(lines),), vocab_size=300), tmp_path / "tokens", Silent())
    path.write_text("a")  # too short to be cut into documents of thousands of characters
    with pytest.raises(DataError, match=r"one document of 1 byte, which is held out.*; give more text$"):
        prepare(TextConfig(paths=(str(path),), vocab_size=300), tmp_path / "tokens", Silent())


def test_unusable_settings_and_corpora_are_refused(corpus: Path, tmp_path: Path) -> None:
    """Settings that exclude each other, missing files, and a corpus too small to hold anything out."""
    with pytest.raises(ConfigError, match="needs the tokenizer"):
        prepare(TextConfig(shards=str(corpus)), tmp_path, Silent())
    with pytest.raises(DataError, match="cannot read tokenizer"):
        prepare(config(corpus, tokenizer="missing.model"), tmp_path, Silent())
    with pytest.raises(DataError, match=r"is longer than an eighth of text.validation_bytes \(800\)"):
        prepare(config(corpus, validation_bytes=800, document_length=1 << 20), tmp_path, Silent())
    with pytest.raises(DataError, match=r"does not exist; delete .* and prepare again"):
        load_tokens(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", [b"{nonsense\n", b"7\n", b'"\xff"\n', b"7" * 5000 + b"\n"])
def test_damaged_held_out_text(corpus: Path, tmp_path: Path, damage: bytes) -> None:
    """What is no JSON text is named, with what to do."""
    tokens = prepare(config(corpus), tmp_path, Silent())
    path = tmp_path / "validation.jsonl"
    path.write_bytes(path.read_bytes() + damage)
    tokens = with_file_digests(tokens)
    with pytest.raises(DataError, match=r"validation\.jsonl cannot be used: .*prepare again"):
        tokens.validation_documents()


@pytest.mark.parametrize("manifest", ["[]", "7", '{"digest": 7}', '{"train_shards": {"a": 1}}', "null", "7" * 5000])
def test_manifests_of_another_shape(tmp_path: Path, manifest: str) -> None:
    """Anything that is no manifest of ours is refused by name."""
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(DataError, match=r"manifest\.json"):
        load_tokens(tmp_path)


def test_a_tokenizer_that_changes_the_text_is_refused_before_the_long_part(corpus: Path, tmp_path: Path) -> None:
    """No training token is written for it, unless it is declared."""
    path = tmp_path / "folding.model"
    path.write_bytes(make_tokenizer("the cap of a file\n" * 50, normalization_rule_name="nfkc_cf").model)
    held = tmp_path / "held.txt"
    held.write_text("The Cap of a file")
    about = {"tokenizer": str(path), "validation_paths": (str(held),)}
    with pytest.raises(DataError, match=r"'The Cap of a file' becomes 'the cap of a file'.*lossy_tokenizer=true"):
        prepare(config(corpus, **about), tmp_path / "t", Silent())
    assert not list((tmp_path / "t").glob("fineweb_train*"))
    assert prepare(config(corpus, lossy_tokenizer=True, **about), tmp_path / "t", Silent()).train_tokens


def test_a_tokenizer_with_a_dummy_prefix_is_counted_right(corpus: Path, tmp_path: Path) -> None:
    """A Llama-type tokenizer is taken as it is, own text and shards alike."""
    path = tmp_path / "llama.model"
    path.write_bytes(make_tokenizer("the cap of a file\n" * 50, **LLAMA).model)
    tokens = prepare(config(corpus, tokenizer=str(path)), tmp_path / "t", Silent())
    used = prepare(TextConfig(shards=str(tmp_path / "t"), tokenizer=str(path)), tmp_path / "u", Silent())
    assert used.validation_tokens == tokens.validation_tokens


def test_text_prepared_again_goes_with_old_products() -> None:
    """The contents of a manifest of version 0.1.0 have the digest that they had, under today's names."""
    old = load_tokens(GOLDEN / "tokens")
    later = {"digest", "folder", "validation_byte_shards", "file_digests"}
    contents = {f.name: getattr(old, f.name) for f in dataclasses.fields(old) if f.name not in later}
    assert digest_contents(contents) == old.digest
    assert old.unchecked and "have no digests" in old.unchecked


def flip(path: Path) -> None:
    """Change one byte in the middle, which leaves the form of any file here whole."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_damage_is_seen_when_a_file_is_used(corpus: Path, tmp_path: Path) -> None:
    """One bit of each file: it is named with the fix; what is not damaged can be used."""
    prepare(config(corpus), tmp_path, Silent())
    uses: dict[str, Callable[[Tokens], object]] = {
        "fineweb_train_000000.bin": Tokens.train_stream,
        "fineweb_val_000000.bin": Tokens.validation_stream,
        "validation.jsonl": Tokens.validation_documents,
        "tokenizer.model": lambda tokens: tokens.tokenizer,
    }
    for name, use in uses.items():
        use(load_tokens(tmp_path))
        whole = (tmp_path / name).read_bytes()
        flip(tmp_path / name)
        with pytest.raises(DataError, match=rf"{name} was damaged or changed .*put back a copy, or delete .* again"):
            use(load_tokens(tmp_path))
        for other, fine in uses.items():
            if other != name:
                fine(load_tokens(tmp_path))
        (tmp_path / name).unlink()
        with pytest.raises(DataError, match=rf"cannot read .*{name}: "):
            use(load_tokens(tmp_path))
        (tmp_path / name).write_bytes(whole)


def test_damage_of_shards_that_lie_elsewhere(corpus: Path, tmp_path: Path) -> None:
    """They are to be copied again, and not prepared again."""
    prepare(config(corpus), tmp_path / "a", Silent())
    shards = TextConfig(shards=str(tmp_path / "a"), tokenizer=str(tmp_path / "a" / "tokenizer.model"))
    assert not prepare(shards, tmp_path / "b", Silent()).unchecked
    flip(tmp_path / "a" / "fineweb_val_000000.bin")
    with pytest.raises(DataError, match=r"fineweb_val_000000\.bin was damaged .* copy it again"):
        load_tokens(tmp_path / "b").validation_stream()


@pytest.mark.parametrize("settings", [LLAMA, CONTEST], ids=["Llama", "contest"])
def test_shards_that_begin_inside_a_document(corpus: Path, tmp_path: Path, settings: dict[str, object]) -> None:
    """What a download of the last shard alone is: used and counted, though its first piece has lost its word."""
    tokenizer = make_tokenizer("the cap of a file\n" * 50, **settings)
    path = tmp_path / "other.model"
    path.write_bytes(tokenizer.model)
    prepare(config(corpus, tokenizer=str(path), lossy_tokenizer=True), tmp_path / "a", Silent())
    ids = tokenizer.encode("the cap of a file under the cap of a file")
    (tmp_path / "a" / "fineweb_val_000000.bin").unlink()
    for begin in range(1, len(ids) - 1):
        writer = ShardWriter(tmp_path / "a", "val", 10_000)
        writer.write([*ids[begin:], tokenizer.bos, *tokenizer.encode("a file")])
        writer.close()
        shards = TextConfig(shards=str(tmp_path / "a"), tokenizer=str(path))
        found = prepare(shards, tmp_path / "b", Silent())
        raw = tokenizer.decode(ids)[len(tokenizer.decode(ids[: begin + 1])) :]
        check = check_table(build_table(tokenizer), tokenizer, found.validation_stream(), raw=None)
        assert check.counted == check.decoded == len(raw) + len("a file")


def test_text_that_changed_is_named(tmp_path: Path) -> None:
    """The first file that is younger than a moment, of folders and patterns too; what is gone says nothing."""
    for name, seconds in (("a.txt", 100), ("b.txt", 300)):
        (tmp_path / name).write_text("text")
        os.utime(tmp_path / name, (seconds, seconds))
    for given in (str(tmp_path), str(tmp_path / "*.txt")):
        config = TextConfig(paths=(str(tmp_path / "gone.txt"), given))
        assert changed_file(config, 200) == tmp_path / "b.txt"
        assert changed_file(config, 300) is None
    assert changed_file(TextConfig(), 0) is None
