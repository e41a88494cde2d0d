"""Of a folder the files that hold text are taken; what runs have written is never text."""

from pathlib import Path

from bytecap.run.folder import OWN, TOKENS
from bytecap.text.text_files import files_in

RECIPE = "# A run of bytecap. Lines behind # are defaults.\n"


def write(folder: Path, *names: str, text: str = "text") -> None:
    """Files of a folder, which is made."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_what_runs_wrote_is_no_text(tmp_path: Path) -> None:
    """Neither in the folder itself, whose own text stays, nor in one below it, of whatever version."""
    own = [name for name in OWN if name != TOKENS]
    write(tmp_path, "a.txt", "notes/b.md", ".hidden.txt", *own, "small.fit.json", "tokens/validation.jsonl")
    write(tmp_path / "runs" / "old", *own, "tokens/manifest.json", "deep/x.txt")
    write(tmp_path / "runs" / "new", *own)
    for folder in (tmp_path, tmp_path / "runs" / "new"):
        write(folder, "recipe.toml", text=RECIPE)
    assert [str(p.relative_to(tmp_path)) for p in files_in(tmp_path)] == ["a.txt", "notes/b.md"]
    (tmp_path / "recipe.toml").unlink()
    (tmp_path / "tokens" / "validation.jsonl").unlink()
    write(tmp_path / "other", "recipe.toml", "log.txt", text="[soup]\n")
    found = {str(p.relative_to(tmp_path)) for p in files_in(tmp_path)}
    assert {"other/recipe.toml", "other/log.txt", "log.txt"} <= found
