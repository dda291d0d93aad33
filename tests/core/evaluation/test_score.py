"""The score of training: its arithmetic by hand, and the sets that ship."""

import pytest

from core.evaluation import evaluate
from core.evaluation.evaluate import EvaluationConfig
from core.evaluation.score import Means, row_means, validation_score
from core.pairs import SourceConfig
from core.rain.drawn import FixedRain
from edge_runtime.models.card import QualityRow

_CLEAN = SourceConfig("clean", root="photos")
_SETS = {
    "pairs": evaluate.TestSetConfig(SourceConfig("published", root="pairs")),
    "strange": evaluate.TestSetConfig(_CLEAN, FixedRain(), weight=2),
    "dry": evaluate.TestSetConfig(_CLEAN),
    "dry_large": evaluate.TestSetConfig(_CLEAN, weight=3),
}


@pytest.mark.parametrize(
    ("means", "score"),
    [
        ({"pairs": Means(20, 23)}, 3.0),
        # The strange one counts twice: (3 + 2 * 1.5) / 3.
        ({"pairs": Means(20, 23), "strange": Means(18, 19.5)}, 2.0),
        ({"pairs": Means(20, 40), "strange": Means(18, 17)}, (10.0 - 2) / 3),
        ({"pairs": Means(20, 23), "dry": Means(100, 50)}, 3.0),
        ({"pairs": Means(20, 23), "dry": Means(100, 44)}, 3.0 - 0.6),
        # Ten decibels short, three times, and none, once.
        ({"dry": Means(100, 70), "dry_large": Means(100, 40)}, -0.75),
    ],
)
def test_the_score_by_hand(means: dict[str, Means], score: float) -> None:
    assert validation_score(means, _SETS) == pytest.approx(score, abs=1e-12)


def test_the_means_are_those_of_rgb() -> None:
    rows = [
        QualityRow(
            dataset="pairs",
            images=3,
            protocol=protocol,
            input_psnr=20.0 + more,
            input_ssim=0.5,
            psnr=23.0 + more,
            ssim=0.6,
        )
        for protocol, more in (("rgb", 0.0), ("y", 1.3))
    ]
    assert row_means(rows) == {"pairs": Means(20, 23)}


def test_the_sets_that_ship() -> None:
    sets = EvaluationConfig.read("configs/data/validation.yaml").sets
    assert [name for name, each in sets.items() if each.dry] == ["dry", "dry_x3", "dry_large"]
    assert {"curtain", "cityrain", "sparse", "specks"} == {
        name for name, each in sets.items() if each.weight == 2
    }
    pictures = list(sets["reference"].read("none"))
    names = {name for name, *_ in pictures}
    assert names == {"coffee.png", "chelsea.png", "rocket.png", "astronaut.png"}
    assert all((rainy != clean).any() for _, rainy, clean in pictures)
