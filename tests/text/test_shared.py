"""Shared tokens are the same tokens, and are there as a whole or not at all."""

import os
import shutil
from pathlib import Path

import pytest

from bytecap.core.errors import DataError
from bytecap.text.shared import share_tokens
from bytecap.text.tokens import load_tokens


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_same_tokens(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    """Linked where that can be done, copied elsewhere; checked by their digests; the time of the manifest is kept."""

    def refuse(source: Path, place: Path) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    shutil.copytree(finished / "tokens", tmp_path / "one")
    share_tokens(tmp_path / "one", tmp_path / "two")
    one, two = load_tokens(tmp_path / "one"), load_tokens(tmp_path / "two")
    assert one == two and two.validation_documents() == one.validation_documents()
    assert two.train_stream().read(0, 99).tolist() == one.train_stream().read(0, 99).tolist()
    manifests = [(tmp_path / name / "manifest.json").stat() for name in ("one", "two")]
    assert manifests[0].st_mtime == manifests[1].st_mtime
    assert (manifests[0].st_ino == manifests[1].st_ino) == links
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == sorted(p.name for p in (tmp_path / "one").iterdir())


def test_manifest_is_the_last(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that was interrupted is no product; the same call completes it."""
    names: list[str] = []

    def stop(source: Path, place: Path) -> None:
        names.append(source.name)
        if len(names) == 3:
            raise KeyboardInterrupt
        place.write_bytes(source.read_bytes())

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("bytecap.text.shared._link", stop)
        share_tokens(finished / "tokens", tmp_path / "two")
    with pytest.raises(DataError, match="does not exist"):
        load_tokens(tmp_path / "two")
    share_tokens(finished / "tokens", tmp_path / "two")
    assert load_tokens(tmp_path / "two").digest == load_tokens(finished / "tokens").digest
