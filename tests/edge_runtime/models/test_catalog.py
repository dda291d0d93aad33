import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_runtime.errors import CardError, ModelNotFoundError, TuneError, UsageError
from edge_runtime.files import cache_folder
from edge_runtime.machine import Machine
from edge_runtime.models import catalog as models
from edge_runtime.models.card import ModelCard, card_path, load_card, write_card
from edge_runtime.models.catalog import (
    Timing,
    fastest_provider,
    find_model,
    list_models,
    recall,
    remember,
)

SaveModel = Callable[..., Path]
SaveCard = Callable[..., ModelCard]
BOARD = Machine("board", 4, "Linux aarch64", "3.11.2", {"onnx": "ort 1", "tflite": "litert 2"})


@pytest.fixture(autouse=True)
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board with both engines, on which nothing was tuned yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(models, "machine", lambda: BOARD)
    monkeypatch.setattr(models, "installed_backends", lambda: BOARD.engines)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


@pytest.fixture
def save_card(shelf: Path, card: ModelCard) -> SaveCard:
    """Return a function that puts a card with something beside it on the shelf."""
    counter = itertools.count()

    def save(file: str) -> ModelCard:
        stem, suffix = file.split(".")
        (shelf / file).write_bytes(bytes([next(counter)]))
        name, precision = stem.rsplit("_", 1)
        made = dataclasses.replace(card, name=name, format=suffix, precision=precision)
        return write_card(shelf / file, made)

    return save


@pytest.fixture
def weights(tmp_path: Path, save_model: SaveModel) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    save_model("small_fp32", folder=folder, name="small")
    save_model("small_int8", folder=folder, name="small", precision="int8")
    save_model("nano_int8", folder=folder, name="nano", precision="int8")
    return folder


def test_list(weights: Path) -> None:
    listed = list_models(weights)
    assert [path.stem for path, _ in listed] == ["nano_int8", "small_fp32", "small_int8"]
    assert [card.name for _, card in listed] == ["nano", "small", "small"]
    assert list_models(weights / "missing") == []


def test_checkpoints_with_cards_are_not_offered(weights: Path, card: ModelCard) -> None:
    checkpoint = weights / "teacher.safetensors"
    checkpoint.write_bytes(b"weights")
    write_card(checkpoint, dataclasses.replace(card, name="teacher", format="safetensors"))
    assert load_card(checkpoint).format == "safetensors"
    assert "teacher" not in [card.name for _, card in list_models(weights)]
    with pytest.raises(ModelNotFoundError, match="model 'teacher': unknown"):
        find_model("teacher", weights)
    with pytest.raises(ModelNotFoundError, match=r"must be an \.onnx or \.tflite file"):
        find_model(checkpoint, weights)


@pytest.mark.parametrize(
    ("name", "stem"),
    [("small", "small_fp32"), ("nano", "nano_int8"), ("small_int8", "small_int8")],
)
def test_names(weights: Path, name: str, stem: str) -> None:
    assert find_model(name, weights) == weights / f"{stem}.onnx"


def test_paths(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights / "nano_int8.onnx"
    assert find_model(path) == path
    assert find_model(str(path)) == path
    monkeypatch.chdir(weights)
    assert find_model("nano_int8.onnx") == Path("nano_int8.onnx")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("smal", "did you mean 'small'"),
        ("zzz", r"there are nano, nano_int8, small, small_fp32, small_int8"),
        ("..", "unknown"),
        ("", "unknown"),
        ("../weights/small_fp32", r"must be an \.onnx or \.tflite file"),
        ("missing.onnx", "no such file"),
        ("folder/missing.onnx", "no such file"),
        (Path("small"), r"must be an \.onnx or \.tflite file"),
    ],
)
def test_unknown(weights: Path, model: str | Path, message: str) -> None:
    with pytest.raises(ModelNotFoundError, match=message):
        find_model(model, weights)


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="there are no models in"):
        find_model("small", tmp_path)


def test_the_cards_of_others_are_not_read(weights: Path) -> None:
    for path in weights.iterdir():
        if path.suffix == ".json":
            path.write_text("torn")
    assert find_model("small", weights).stem == "small_fp32"
    assert find_model(weights / "small_fp32.onnx", precision="fp32").stem == "small_fp32"
    with pytest.raises(CardError, match=r"nano_int8\.onnx\.json: not JSON"):
        list_models(weights)
    card_path(weights / "nano_int8.onnx").unlink()  # then there is that inside it
    with pytest.raises(CardError, match=r"\.onnx\.json: not JSON"):
        list_models(weights)


def test_a_name_that_tells_no_precision_asks_the_card(
    tmp_path: Path, save_model: SaveModel
) -> None:
    path = save_model("mine", folder=tmp_path, precision="int8")
    assert find_model(path, precision="int8") == path
    with pytest.raises(ModelNotFoundError, match="not there as fp16; there is: int8 onnx"):
        find_model(path, precision="fp16")


def test_a_stem_takes_onnx_unless_told_otherwise(shelf: Path, save_card: SaveCard) -> None:
    save_card("small_int8.tflite")
    assert find_model("small_int8", shelf).suffix == ".tflite"
    save_card("small_int8.onnx")
    assert find_model("small_int8", shelf).suffix == ".onnx"
    assert find_model("small_int8", shelf, backend="tflite").suffix == ".tflite"
    with pytest.raises(ModelNotFoundError, match="not there as fp32; there is: int8 onnx, int8 tf"):
        find_model("small_int8", shelf, precision="fp32")


def test_paths_have_to_fit_too(shelf: Path, save_card: SaveCard) -> None:
    save_card("small_fp16.tflite")
    path = shelf / "small_fp16.tflite"
    assert find_model(path) == path
    assert find_model(str(path), backend="tflite", precision="fp16") == path
    with pytest.raises(ModelNotFoundError, match="not there as onnx; there is: fp16 tflite"):
        find_model(path, backend="onnx")


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, "small_fp32.onnx"),
        ({"backend": "tflite"}, "small_fp32.tflite"),
        ({"precision": "int8"}, "small_int8.onnx"),
        ({"precision": "int8", "backend": "tflite"}, "small_int8.tflite"),
        ({"precision": "fp16"}, "small_fp16.tflite"),
    ],
)
def test_wishes(shelf: Path, save_card: SaveCard, wish: dict[str, str], expected: str) -> None:
    for file in ("small_fp32.onnx", "small_int8.onnx", "small_int8.tflite", "small_fp16.tflite"):
        save_card(file)
    save_card("small_fp32.tflite")
    assert find_model("small", shelf, **wish).name == expected


def test_a_wish_that_nothing_fulfils(shelf: Path, save_card: SaveCard) -> None:
    save_card("small_fp32.onnx")
    with pytest.raises(ModelNotFoundError, match="'small': not there as int8 tflite; there is: fp"):
        find_model("small", shelf, backend="tflite", precision="int8")
    with pytest.raises(UsageError, match="precision 'int4': must be one of auto, fp32, fp16"):
        find_model("small", shelf, precision="int4")
    with pytest.raises(UsageError, match="backend 'trt': must be one of auto, "):
        find_model("small", shelf, backend="trt")


def test_a_missing_engine_is_passed_over_but_not_where_it_is_named(
    shelf: Path, save_card: SaveCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "installed_backends", lambda: {"tflite": "litert 2"})
    save_card("small_fp32.onnx")
    assert find_model("small", shelf).suffix == ".onnx"  # whose session says what to install
    save_card("small_fp32.tflite")
    assert find_model("small", shelf).name == "small_fp32.tflite"
    assert find_model("small_fp32", shelf).name == "small_fp32.tflite"
    assert find_model("small", shelf, backend="onnx").name == "small_fp32.onnx"
    assert find_model("small_fp32", shelf, backend="onnx").name == "small_fp32.onnx"


def test_what_loses_too_much_is_not_taken_for_its_speed(shelf: Path, save_card: SaveCard) -> None:
    cards = [save_card(f"small_{kind}.onnx") for kind in ("fp32", "fp16", "int8")]
    engine = BOARD.engines["onnx"]
    remember(
        Timing(BOARD.key, engine, "CPU", card.sha256 or "", milliseconds, good)
        for card, milliseconds, good in zip(
            cards, (3.0, 2.0, 1.0), (True, True, False), strict=True
        )
    )
    assert find_model("small", shelf).stem == "small_fp16"
    assert find_model("small", shelf, precision="int8").stem == "small_int8"


def test_what_was_measured_fastest_is_taken(shelf: Path, save_card: SaveCard) -> None:
    cards = [save_card(f"small_{kind}") for kind in ("fp32.onnx", "int8.onnx", "fp32.tflite")]

    def timing(card: ModelCard, milliseconds: float | None, provider: str = "CPU") -> Timing:
        engine = BOARD.engines[card.format]
        return Timing(BOARD.key, engine, provider, card.sha256 or "", milliseconds, True)

    remember([timing(cards[0], None), timing(cards[1], 300.0), timing(cards[1], 90.0, "CUDA")])
    # One that is not measured could be faster still: the default.
    assert find_model("small", shelf).name == "small_fp32.onnx"
    remember([timing(cards[2], 100.0)])
    assert find_model("small", shelf).name == "small_int8.onnx"
    assert fastest_provider(cards[0]) == "CPU"  # though it does not run
    assert fastest_provider(cards[1]) == "CUDA"
    assert find_model("small", shelf, precision="fp32").name == "small_fp32.tflite"


@pytest.mark.parametrize("change", ["machine", "engine", "sha256"])
def test_what_was_measured_elsewhere_is_ignored(
    shelf: Path, save_card: SaveCard, change: str
) -> None:
    cards = [save_card(f"small_fp32.{kind}") for kind in ("onnx", "tflite")]
    timings = [
        Timing(BOARD.key, BOARD.engines[card.format], "CPU", card.sha256 or "", milliseconds, True)
        for card, milliseconds in zip(cards, (2.0, 1.0), strict=True)
    ]
    remember([dataclasses.replace(timing, **{change: "other"}) for timing in timings])
    assert find_model("small", shelf).name == "small_fp32.onnx"
    assert fastest_provider(cards[0]) is None
    remember(timings)
    assert find_model("small", shelf).name == "small_fp32.tflite"


TIMING = Timing("board, 4 cores, Linux aarch64", "onnxruntime 1.31.1", "CPU", "ab12", 330.5, True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "edge-derain" / "tune.json"


def test_nothing_is_known_at_first(file: Path) -> None:
    assert recall() == []
    assert not file.parent.exists()


def test_what_is_remembered_comes_back(file: Path) -> None:
    broken = dataclasses.replace(TIMING, engine="litert 2", milliseconds=None)
    assert remember([TIMING, broken]) == file
    assert recall() == [TIMING, broken]


@pytest.mark.parametrize("change", ["machine", "engine", "provider", "sha256"])
def test_only_the_same_thing_is_replaced(change: str) -> None:
    other = dataclasses.replace(TIMING, **{change: "other"})
    again = dataclasses.replace(TIMING, milliseconds=100.0)
    remember([TIMING, other])
    remember([again])
    assert recall() == [other, again]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[{",
        b"\xff\xfe",
        b"{}",
        b"7",
        b"[7, null, {}]",
        json.dumps([{**vars(TIMING), "milliseconds": "fast"}]).encode(),
        json.dumps([{**vars(TIMING), "milliseconds": True}]).encode(),
        json.dumps([{**vars(TIMING), "milliseconds": -1.0}]).encode(),
        json.dumps([{**vars(TIMING), "sha256": 7}]).encode(),
        json.dumps([{**vars(TIMING), "more": 7}]).encode(),
        json.dumps([{k: v for k, v in vars(TIMING).items() if k != "good"}]).encode(),  # older
        b"[" * 100_000,
    ],
)
def test_what_is_torn_is_ignored_and_replaced(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert recall() == []
    remember([TIMING])
    assert recall() == [TIMING]


def test_what_is_whole_survives_what_is_torn(file: Path) -> None:
    remember([TIMING])
    file.write_text(json.dumps([{"machine": 7}, vars(TIMING)]))
    assert recall() == [TIMING]


def test_a_place_that_cannot_be_written_is_one_line(file: Path) -> None:
    file.parent.parent.mkdir()
    file.parent.write_bytes(b"in the way")
    with pytest.raises(TuneError, match=r"tune\.json: cannot be written .*; name another folder"):
        remember([TIMING])
    assert recall() == []


def test_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    for chosen in ("", "relative"):  # which the specification says to ignore
        monkeypatch.setenv("XDG_CACHE_HOME", chosen)
        assert cache_folder() == tmp_path / "home" / ".cache" / "edge-derain"

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert recall() == []
    with pytest.raises(TuneError, match="there is no home folder"):
        remember([TIMING])
