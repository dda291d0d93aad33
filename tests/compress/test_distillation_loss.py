"""The loss of distillation, by hand: what the teacher is asked, and what it weighs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from compress.distillation import Distillation, DistillationConfig
from compress.teacher import load_teacher
from core.config import build_config
from core.errors import ConfigError
from core.mixture.dataset import Kind, Sample, to_float
from core.training.losses import LossConfig, negative_psnr, weighed_error

ALL = (Kind.PAIR, Kind.MADE, Kind.DRY, Kind.UNLABELLED)
Make = Callable[..., Distillation]


@pytest.fixture
def make(make_teacher: Callable[..., Path], tmp_path: Path) -> Make:
    def objective(architecture: str = "student", **values: Any) -> Distillation:
        config = DistillationConfig(**values)
        teacher = load_teacher(make_teacher(architecture), config.views)
        return Distillation(LossConfig(), config, teacher, tmp_path)

    return objective


def _batch(*kinds: Kind, taught: bool = False) -> Sample:
    generator = torch.Generator().manual_seed(3)
    size = (len(kinds), 3, 16, 16)
    rainy, clean, known = torch.randint(256, (3, *size), generator=generator, dtype=torch.uint8)
    for row, kind in enumerate(kinds):
        if kind == Kind.DRY:
            clean[row] = rainy[row]
        if kind == Kind.UNLABELLED:
            clean[row] = 0
    nothing = torch.empty(len(kinds), 0, dtype=torch.uint8)
    return Sample(rainy, clean, torch.tensor([int(k) for k in kinds]), known if taught else nothing)


def _asked(objective: Distillation) -> list[Tensor]:
    """Record what the teacher is given."""
    seen: list[Tensor] = []
    objective.teacher.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    return seen


def test_the_teacher_is_asked_for_all_but_dry_pictures(make: Make) -> None:
    objective, batch = make(), _batch(*ALL)
    seen = _asked(objective)
    taught = objective.observe(batch)["taught"]
    rainy = to_float(batch.rainy)
    assert torch.equal(seen[0], rainy[[0, 1, 3]])
    assert torch.equal(taught[2], rainy[2])
    torch.testing.assert_close(taught[[0, 1, 3]], objective.teacher(rainy[[0, 1, 3]]))


def test_kept_results_are_used_where_there_are_any(make: Make) -> None:
    objective, batch = make(), _batch(*ALL, taught=True)
    seen = _asked(objective)
    taught, rainy = objective.observe(batch)["taught"], to_float(batch.rainy)
    assert torch.equal(seen[0], rainy[[1]])
    assert torch.equal(taught[[0, 3]], to_float(batch.taught)[[0, 3]])
    assert torch.equal(taught[2], rainy[2])


def test_with_pieces_the_teacher_is_not_asked_about_what_is_made_for_a_step(make: Make) -> None:
    objective, batch = make(keep=True, pieces=3), _batch(*ALL, taught=True)
    seen = _asked(objective)
    taught = objective.observe(batch)["taught"]
    assert not seen
    assert objective.pieces == 3
    assert torch.equal(taught[[0, 3]], to_float(batch.taught)[[0, 3]])
    assert torch.equal(taught[1], to_float(batch.clean)[1])
    assert torch.equal(taught[2], to_float(batch.rainy)[2])


def test_a_bounded_teacher_is_silent_where_the_student_is_better(make: Make) -> None:
    objective, batch = make(bounded=True), _batch(Kind.PAIR, Kind.PAIR, Kind.UNLABELLED)
    clean = to_float(batch.clean)
    # The student is off by 0.1; the teacher by more, by less, and nobody knows.
    derained = clean + 0.1
    taught = clean + torch.tensor([0.2, 0.05, 0.3])[:, None, None, None]
    losses = objective(derained, batch, {"taught": taught})
    assert losses["teacher"].item() == pytest.approx((0.1 + 0.05 + 0.2) / 3)
    unbounded = make()(derained, batch, {"taught": taught})
    assert unbounded["teacher"].item() == pytest.approx((0.1 + 0.05 + 0.2) / 3)
    assert (
        _pull(objective, derained, batch, taught)[0] > 0 > _pull(make(), derained, batch, taught)[0]
    )


def _pull(objective: Distillation, derained: Tensor, batch: Sample, taught: Tensor) -> list[float]:
    """Return how each picture's loss grows with its brightness, as the teacher says."""
    derained = derained.detach().requires_grad_()
    objective(derained, batch, {"taught": taught})["teacher"].backward()
    assert derained.grad is not None
    return [float(gradient.sum()) for gradient in derained.grad]


def test_the_loss_is_the_weighted_sum_by_hand(make: Make) -> None:
    objective = make(clean=0.5, teacher=2.0)
    batch = _batch(Kind.PAIR, Kind.UNLABELLED)
    derained = torch.rand(2, 3, 16, 16)
    observed = objective.observe(batch)
    losses = objective(derained, batch, observed)
    clean, taught = to_float(batch.clean), observed["taught"]
    against_clean = (derained[0] - clean[0]).abs().mean() / 2  # the other one has none
    residuals = derained - to_float(batch.rainy), taught - to_float(batch.rainy)
    against_teacher = (residuals[0] - residuals[1]).abs().mean()
    torch.testing.assert_close(losses["clean"], against_clean)
    torch.testing.assert_close(losses["teacher"], against_teacher)
    torch.testing.assert_close(losses["loss"], 0.5 * against_clean + 2 * against_teacher)


def test_an_even_teacher_weighs_a_picture_by_its_distance_to_the_clean_one(make: Make) -> None:
    objective, batch = make(even=True), _batch(Kind.PAIR, Kind.UNLABELLED)
    objective.loss = LossConfig(l1=0, psnr=1)
    clean, taught = to_float(batch.clean), torch.rand(2, 3, 16, 16)
    derained = torch.rand(2, 3, 16, 16)
    loss = objective(derained, batch, {"taught": taught})["teacher"]
    known = torch.stack([clean[0], taught[1]])  # of the other there is no clean one
    torch.testing.assert_close(loss, weighed_error(derained, taught, known))
    uneven = make()
    uneven.loss = objective.loss
    loss = uneven(derained, batch, {"taught": taught})["teacher"]
    torch.testing.assert_close(loss, negative_psnr(derained, taught))


@pytest.mark.parametrize("loss", [LossConfig(), LossConfig(l1=0, psnr=1)])
def test_unlabelled_samples_never_see_a_clean_picture(make: Make, loss: LossConfig) -> None:
    objective, batch = make(even=True), _batch(Kind.UNLABELLED, Kind.PAIR)
    objective.loss = loss
    derained = torch.rand(2, 3, 16, 16, requires_grad=True)
    results = []
    for clean in (batch.clean, 255 - batch.clean):
        changed = batch._replace(clean=clean)
        loss = objective(derained, changed, objective.observe(changed))["loss"]
        results.append(torch.autograd.grad(loss, derained)[0])
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][0].abs().max() > 0
    assert not torch.equal(results[0][1], results[1][1])


def test_nothing_may_change_in_dry_pictures(make: Make) -> None:
    objective, batch = make(), _batch(Kind.DRY, Kind.DRY)
    seen = _asked(objective)
    rainy = to_float(batch.rainy)
    assert objective(rainy, batch, objective.observe(batch))["loss"] == 0
    assert not seen


def test_the_note_names_teacher_and_weights(make: Make) -> None:
    objective = make(teacher=0.5, views=2)
    assert objective.note == (
        f"teacher wise sha256 {objective.teacher.sha256}, views 2, weights 1 clean, 0.5 teacher"
    )
    assert objective.data == ("library",)
    assert objective.takes_unlabelled
    assert not make(teacher=0.0).takes_unlabelled
    assert make(keep=True, pieces=5, even=True, bounded=True).note.endswith(
        "1 teacher, 5 pieces, bounded, even"
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"clean": -1.0}, r"distill\.clean -1\.0 must be 0 or more"),
        ({"teacher": float("nan")}, r"distill\.teacher nan must be 0 or more"),
        ({"clean": 0.0, "teacher": 0.0}, "are both 0; give one a weight"),
        ({"pieces": -1, "keep": True}, r"distill\.pieces -1: must be 0 or more"),
        ({"pieces": 5}, r"distill\.pieces 5: .* unless distill\.keep is true"),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DistillationConfig(**values)


def test_older_configs_that_compared_no_features_are_read() -> None:
    old = {"teacher": 0.5, "features": 0.0, "student_layers": [], "teacher_layers": []}
    assert build_config(DistillationConfig, old, "distill") == DistillationConfig(teacher=0.5)
    with pytest.raises(ConfigError, match=r"distill: features: unknown key|features: unknown key"):
        build_config(DistillationConfig, {**old, "features": 0.5}, "distill")
