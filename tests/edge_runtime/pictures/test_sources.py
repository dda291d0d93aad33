import os
from pathlib import Path

import pytest

from edge_runtime.errors import ImageError, UsageError
from edge_runtime.pictures.sources import STDIO, find_pictures, find_sources


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "a.jpg",
        "a_derained.jpg",
        "in/b.png",
        "in/._b.png",
        "in/deep/c.webp",
        "in/deep/c_derained.webp",
        "in/deep/er/d.tif",
        "in/.thumbnails/b.png",
        "in/out/e.jpg",
        "in/notes.txt",
        "x[1].jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def _found(*inputs: str, **options: object) -> list[tuple[str, str]]:
    sources = find_sources(inputs, ours=("_derained",), **options)  # type: ignore[arg-type]
    return [(source.path.as_posix(), source.below.as_posix()) for source in sources]


def test_folders_with_and_without_their_folders() -> None:
    assert _found("in") == [("in/b.png", ".")]
    assert _found("in", recursive=True, out=Path("in/out")) == [
        ("in/b.png", "."),
        ("in/deep/c.webp", "deep"),
        ("in/deep/er/d.tif", "deep/er"),
    ]
    assert ("in/out/e.jpg", "out") in _found("in", recursive=True)


def test_links_to_folders_are_not_followed(here: Path) -> None:
    (here / "in/deep/loop").symlink_to(here / "in")
    assert len(_found("in", recursive=True)) == 4


def test_patterns_that_no_shell_expanded() -> None:
    assert _found("*.jpg") == [("a.jpg", "."), ("x[1].jpg", ".")]
    assert _found("in/**/*.tif") == [("in/deep/er/d.tif", ".")]
    assert _found("x[1].jpg") == [("x[1].jpg", ".")]  # a file of just that name
    assert _found("in/*") == [("in/b.png", ".")]
    with pytest.raises(UsageError, match=r"\*\.bmp: matches no picture"):
        _found("*.bmp")


def test_each_picture_once_and_named_results_too() -> None:
    assert _found("a.jpg", "./a.jpg", "a_derained.jpg") == [("a.jpg", "."), ("a_derained.jpg", ".")]


def test_standard_input_and_a_file_of_that_name(here: Path) -> None:
    assert [source.path for source in find_sources(["-"])] == [STDIO]
    assert [source.path for source in find_sources(["./-"])] == [here / "-"]


def test_a_folder_whose_pictures_lie_deeper_says_so(here: Path) -> None:
    os.makedirs("top/below")
    (here / "top/below/a.png").touch()
    with pytest.raises(UsageError, match="-r looks into its folders too"):
        _found("top")


def test_find_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "others"
    (folder / "folder.png").mkdir(parents=True)
    for name in ("b.PNG", "a.jpg", "notes.txt", "c.tiff"):
        (folder / name).touch()
    assert [p.name for p in find_pictures(folder)] == ["a.jpg", "b.PNG", "c.tiff"]
    with pytest.raises(ImageError, match="cannot be listed"):
        find_pictures(tmp_path / "missing")
