"""The product of preparing text: what was made of it, and where it lies.

In:   the `tokens/` folder of a run.
Out:  Tokens, saved as `manifest.json`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bytecap.core.digest import digest_file
from bytecap.core.errors import DataError
from bytecap.core.files import parse_json, read_json, write_json
from bytecap.core.settings import NOT_IN_DIGEST, NOT_SAVED, history
from bytecap.core.settings_reader import from_saved
from bytecap.core.settings_writer import to_saved
from bytecap.text.shards import TokenStream
from bytecap.text.tokenizer import Tokenizer

MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The product of the prepare stage. Paths are relative to the folder of the manifest unless absolute."""

    digest: str
    """Digest of everything below: what later products are made from."""
    corpus_digest: str
    """Digest of the documents and their split; scores compare only where it is equal."""
    corpus: str
    tokenizer_path: str = dataclasses.field(metadata=history(renamed=("tokenizer",)))
    tokenizer_digest: str
    vocab_size: int
    document_length: int | None
    """Characters after which texts were cut."""
    train_shards: tuple[str, ...]
    train_tokens: int
    validation_shards: tuple[str, ...]
    validation_tokens: int
    validation_text: str | None
    """JSON lines with the raw held-out documents, if they are available."""
    validation_bytes: int | None
    """UTF-8 bytes of the raw held-out documents."""
    validation_byte_shards: tuple[str, ...] = ()
    """Bytes of each validation token, where the shards came with such a sidecar."""
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)
    file_digests: dict[str, str] = dataclasses.field(default_factory=dict, metadata=NOT_IN_DIGEST)
    """Digest of each shard and of the held-out text, by path; empty in manifests of version 0.1.0."""
    folder: Path = dataclasses.field(default=Path(), compare=False, metadata=NOT_SAVED)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the shards, read once; DataError when its file cannot be used or is another one."""
        return Tokenizer.read(self._file(self.tokenizer_path))

    def train_stream(self) -> TokenStream:
        """The training tokens; DataError for a shard that was changed, or an id beyond the vocabulary."""
        return TokenStream([self._file(name) for name in self.train_shards], vocab_size=self.vocab_size)

    def validation_stream(self) -> TokenStream:
        """The validation tokens; DataError for a shard that was changed, or an id beyond the vocabulary."""
        return TokenStream([self._file(name) for name in self.validation_shards], vocab_size=self.vocab_size)

    def validation_byte_stream(self) -> TokenStream | None:
        """The bytes of each validation token, where the shards have such a sidecar; DataError where it was changed."""
        if not self.validation_byte_shards:
            return None
        return TokenStream([self._file(name) for name in self.validation_byte_shards])

    def validation_documents(self) -> list[str] | None:
        """Raw held-out documents, or None if only tokens are available."""
        if self.validation_text is None:
            return None
        path = self._file(self.validation_text)
        documents = []
        try:
            for line in filter(None, path.read_bytes().split(b"\n")):
                documents.append(parse_json(line))
            if not all(isinstance(document, str) for document in documents):
                raise ValueError("a line holds no text")
        except (OSError, ValueError) as error:
            remedy = f"delete {self.folder} and prepare again"
            raise DataError(f"{path} cannot be used: {error}; {remedy}", path=str(path)) from error
        return documents

    def _file(self, name: str) -> Path:
        """A file of the manifest, its digest checked when it is first used; DataError where it is another file now."""
        path, known = self.folder / name, {**self.file_digests, self.tokenizer_path: self.tokenizer_digest}
        if name in known and name not in self._checked:
            if (found := _digest(path)) != known[name]:
                fix = "delete the folder and prepare again" if path.parent == self.folder else "copy it again"
                raise DataError(
                    f"{path} was damaged or changed after it was prepared: its digest is {found}, needed "
                    f"{known[name]}; put back a copy, or {fix}",
                    path=str(path),
                )
            self._checked.add(name)
        return path

    @property
    def unchecked(self) -> str | None:
        """What to say where the files have no digests, so that damage which leaves their form whole is not seen."""
        if self.file_digests:
            return None
        return (
            f"the shards in {self.folder} have no digests, as those of version 0.1.0, so damage may not be seen; "
            "delete the folder to prepare them again"
        )

    @cached_property
    def _checked(self) -> set[str]:
        """Names whose digests have been compared."""
        return set()


def with_file_digests(tokens: Tokens) -> Tokens:
    """The same tokens with the digests of their files as they are now."""
    text = () if tokens.validation_text is None else (tokens.validation_text,)
    names = (*tokens.train_shards, *tokens.validation_shards, *tokens.validation_byte_shards, *text)
    return dataclasses.replace(tokens, file_digests={name: _digest(tokens.folder / name) for name in names})


def _digest(path: Path) -> str:
    try:
        return digest_file(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; put back a copy", path=str(path)) from error


def save_tokens(tokens: Tokens) -> None:
    """Write the manifest into the folder of the tokens."""
    write_json(tokens.folder / MANIFEST, to_saved(tokens))


def load_tokens(folder: Path) -> Tokens:
    """The product saved in `folder`, by this version or an older one; DataError when it is missing or not one."""
    path, remedy = folder / MANIFEST, f"delete {folder} and prepare again"
    return dataclasses.replace(
        from_saved(Tokens, read_json(path, remedy), origin=str(path), remedy=remedy, error=DataError), folder=folder
    )
