"""A network in training: objective, optimizer and one step, without files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from core.checkpoint import Checkpoint, TrainingCost, load_checkpoint
from core.config import network_config
from core.errors import ConfigError, TrainingError
from core.inference import precision_on
from core.mixture.dataset import Kind, Sample, to_float
from core.networks import ARCHITECTURES
from core.networks.layers import Auxiliary, PictureLoss
from core.pairs import Image
from core.training.config import TrainConfig
from core.training.devices import hardware, make_fabric
from core.training.grow import grow
from core.training.losses import Adversary, LossConfig, reconstruction_loss
from core.training.muon import Muon
from core.training.state import Stateful
from edge_runtime.models.records import to_plain


class Objective(nn.Module):
    """The difference to the clean pictures; a subclass adds to it or says something else.

    A step calls :meth:`observe` right after the network, then the objective itself. Both see the
    same share of the batch. Losses are means over all its samples, so that a batch cut into parts
    or shared by several processes makes the same step.

    Args:
        loss: weights of its terms.

    Attributes:
        verb: first word of the recipe line.
        note: end of the recipe line, such as the name of a teacher. A run resumes only with the
            note that it was started with.
        data: names of further data sets to which the network owes something.
        clean_weight: of what clean pictures say; the losses that a network has of its own (see
            :mod:`core.networks.layers`) are added with it.
        takes_unlabelled: whether it needs no clean picture for the kind ``UNLABELLED``.
        teach: derains a whole picture, uint8 (H, W, 3) RGB in and out, where such results are to
            be kept and handed back as :attr:`core.mixture.dataset.Sample.taught`; otherwise None.
        pieces: how many pieces with made rain it derains too; see
            :class:`core.mixture.dataset.MixtureDataset`.
    """

    def __init__(self, loss: LossConfig) -> None:
        super().__init__()
        self.loss = loss
        self.verb = "train"
        self.note = ""
        self.data: tuple[str, ...] = ()
        self.clean_weight = 1.0
        self.takes_unlabelled = False
        self.teach: Callable[[Image], Image] | None = None
        self.pieces = 0

    def observe(self, batch: Sample) -> dict[str, Tensor]:
        """Return, by name, what :meth:`forward` needs of further networks."""
        return {}

    def forward(
        self, derained: Tensor, batch: Sample, observed: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Compute the loss, in float32.

        Args:
            derained: float32 (N, 3, H, W), about [0, 1], of the network in training.
            batch: what it was made from.
            observed: what :meth:`observe` returned.

        Returns:
            Float scalars by name; ``loss`` is what is made small, the others are for the log.
        """
        return {"loss": reconstruction_loss(derained, to_float(batch.clean), self.loss)}


class Learner:
    """A network in training.

    Args:
        config: what to train.
        objective: what it is trained for; None takes the difference to the clean pictures.

    Attributes:
        fabric: devices, processes and precision.
        network_config: instance of the architecture's config dataclass.
        module: the network in training.
        average: moving average of its weights, ``average.module``: what is judged and kept.
        objective: what it is trained for.
        optimizer: as configured; ``optimizer.optimizer`` is the bare one.
        adversary: of the GAN phase, None in a run without one.
        auxiliary: the module, where it has losses of its own; otherwise None.

    Raises:
        CheckpointError: ``config.init`` cannot be read.
        ConfigError: ``config.init`` holds another network, the devices are not there, or the
            mixture has pictures of which the objective or the GAN phase can make nothing.
    """

    def __init__(self, config: TrainConfig, objective: Objective | None = None) -> None:
        self.config = config
        self.fabric = make_fabric(config)
        torch.manual_seed(config.seed)
        self.network_config = network_config(config.architecture, config.network)
        network: nn.Module = ARCHITECTURES[config.architecture].module(self.network_config)
        self._earlier = _initial(config) if config.init else None
        if self._earlier:
            network = replace(self._earlier, config=self.network_config).build()
        self.module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = objective or Objective(config.loss)
        _check_unlabelled(config, self.objective)
        optimizer = make_optimizer(config, self.module.parameters())
        # int8 and fp16 arithmetic takes the place of ``forward`` alone.
        floating = not (self._earlier and self._earlier.quantization)
        self.auxiliary = self.module if floating and isinstance(self.module, Auxiliary) else None
        forward: Any = _FromBytes(self.module, self.auxiliary is not None)
        if config.compile:
            # What was compiled for another network of this process may be taken for this one,
            # because hooks are not compared.
            torch.compiler.reset()
            forward = torch.compile(forward)
        self._network: Any
        step = _Forward(forward, self.objective)
        self._network, self.optimizer = self.fabric.setup(step, optimizer)
        self.average = AveragedModel(self.module, multi_avg_fn=_moving_average(config.ema_decay))
        adversarial = config.adversarial
        self.adversary = Adversary(adversarial, self.fabric) if adversarial.weight else None

    def update(self, batch: Sample, step: int) -> Mapping[str, Tensor]:
        """Take one step.

        Args:
            batch: this process's share of the batch, N a multiple of ``config.accumulate``, H and
                W multiples of the network's ``size_multiple``.
            step: finished steps.

        Returns:
            Losses before the step by name, float scalars without gradient: ``loss``, the sum of
            all terms, and the others that the objective and the network (see
            :mod:`core.networks.layers`) name; in the GAN phase also ``adversarial``, the part
            of the sum that the discriminator contributes, and ``discriminator``, the loss of that.

        Raises:
            TrainingError: a gradient is not finite; the weights have not changed then.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate_at(step)
        self._network.train()
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.config.accumulate
        losses: dict[str, Tensor] = {}
        for index, part in enumerate(batch.chunk(parts)):
            for name, loss in self._collect(part, step, last=index + 1 == parts).items():
                losses[name] = losses.get(name, 0) + loss / parts
        norm = self.fabric.clip_gradients(
            self._network,
            self.optimizer,
            max_norm=self.config.gradient_clip or math.inf,
            error_if_nonfinite=False,
        )
        if not (norm is not None and math.isfinite(norm)):
            raise TrainingError(
                f"{self.config.name}: gradient is not finite at step {step + 1}, "
                f"loss {losses['loss'].item():g}; start another --name with a lower "
                "learning_rate or precision 32-true"
            )
        if "discriminator" in losses and self.adversary:
            self.adversary.step()
        self.optimizer.step()
        self.average.update_parameters(self.module)
        return losses

    def _collect(self, batch: Sample, step: int, last: bool) -> dict[str, Tensor]:
        parts = self.config.accumulate
        adversary = self.adversary if step >= self.config.adversarial.start else None
        with self.fabric.no_backward_sync(self._network, enabled=not last):
            derained, outputs, observed = self._network(batch)
            losses = self.objective(derained, batch, observed)
            if self.auxiliary is not None:
                own = auxiliary_losses(
                    self.auxiliary,
                    outputs,
                    batch,
                    partial(reconstruction_loss, config=self.objective.loss),
                )
                weighted = {name: self.objective.clean_weight * loss for name, loss in own.items()}
                losses = {**losses, **weighted}
                losses["loss"] = losses["loss"] + sum(weighted.values())
            if adversary:
                wanted = to_float(batch.clean)
                losses["adversarial"] = adversary.generator_loss(derained, wanted)
                losses["loss"] = losses["loss"] + losses["adversarial"]
            self.fabric.backward(losses["loss"] / parts)
        if adversary:
            losses["discriminator"] = adversary.collect(derained, wanted, parts, last)
        return {name: value.detach() for name, value in losses.items()}

    def state(self) -> Stateful:
        """Return everything that steps change."""
        modules: dict[str, nn.Module] = {"network": self.module, "average": self.average}
        optimizers = {"optimizer": self.optimizer.optimizer}
        if self.adversary:
            modules["discriminator"] = self.adversary.module
            optimizers["discriminator_optimizer"] = self.adversary.optimizer.optimizer
        return Stateful(modules, optimizers)

    def checkpoint(self, step: int, seconds: float) -> Checkpoint:
        """Return the moving average after ``step`` finished steps, with where it comes from.

        Args:
            step: finished steps.
            seconds: what they took.
        """
        config, mixture, before = self.config, self.config.mixture, self._earlier
        start = f"from {before.name}" if before else "from scratch"
        size = f"{config.batch_size} x {mixture.crop} x {mixture.crop}"
        precision = precision_on(config.accelerator, config.precision)
        line = (
            f"{self.objective.verb}: {config.architecture} {start}, {step} of {config.steps} steps "
            f"of {size}, {precision}, seed {config.seed}"
        )
        if self.adversary and step > config.adversarial.start:
            line += f", adversarial loss from step {config.adversarial.start}"
        if self.objective.note:
            line += f", {self.objective.note}"
        parts = mixture.parts.values()
        names = {part.source.name for part in parts}
        names.update(self.objective.data)
        names |= {part.lender.name for part in parts if part.lender}
        if mixture.generated.streaks:
            names.add(Path(mixture.generated.streaks).name)
        # What else the network that it started from says of itself stays true.
        origin = before or Checkpoint("", "", config.architecture, self.network_config, {})
        return replace(
            origin,
            name=config.name,
            role=config.role,
            config=self.network_config,
            weights=self.average.module.state_dict(),
            recipe=(*(before.recipe if before else ()), line),
            data=tuple(sorted(names.union(before.data if before else ()))),
            versions={name: version(name) for name in ("torch", "lightning", "numpy")},
            cost=self._cost(step, seconds),
            licence=config.licence or origin.licence,
        )

    def _cost(self, step: int, seconds: float) -> TrainingCost | None:
        hours, device = seconds / 3600, hardware(self.fabric)
        if not self._earlier:
            return TrainingCost(step, hours, device)
        before = self._earlier.cost
        if before is None:
            return None
        both = "; ".join(dict.fromkeys([*before.hardware.split("; "), device]))
        return TrainingCost(before.steps + step, before.hours + hours, both)


def auxiliary_losses(
    network: Auxiliary, outputs: Mapping[str, Tensor], batch: Sample, loss: PictureLoss
) -> dict[str, Tensor]:
    """Compute a network's own losses on the samples of a batch that have a clean picture.

    They are means over the whole batch, so that one cut into parts makes the same step.

    Args:
        network: what made the outputs.
        outputs: float32 tensors by name, N in front.
        batch: what they were made from.
        loss: as :meth:`core.networks.layers.Auxiliary.auxiliary_losses`.

    Returns:
        Float scalars by name, always the same names; zeros where no sample has a clean picture.
    """
    labelled = batch.kind != Kind.UNLABELLED
    share = labelled.float().mean()
    # Without any, zero times the losses of all: several processes need each gradient and name.
    rows = labelled | ~labelled.any()
    chosen = {name: tensor[rows] for name, tensor in outputs.items()}
    rainy, clean = to_float(batch.rainy[rows]), to_float(batch.clean[rows])
    losses = network.auxiliary_losses(chosen, rainy, clean, loss)
    return {name: share * value for name, value in losses.items()}


def make_optimizer(config: TrainConfig, parameters: list[nn.Parameter]) -> Optimizer:
    """Return the optimizer that ``config`` names, over ``parameters``."""
    if config.optimizer == "muon":
        return Muon(parameters, config.learning_rate, config.weight_decay)
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        betas=(0.9, 0.99),
    )


class _FromBytes(nn.Module):
    """Takes pictures as bytes, because Fabric rounds inputs that are floats to 16 bits."""

    def __init__(self, network: Any, auxiliary: bool) -> None:
        super().__init__()
        self.network, self._auxiliary = network, auxiliary

    def forward(self, rainy: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if not self._auxiliary:
            derained: Tensor = self.network(to_float(rainy))
            return derained.float(), {}
        derained, outputs = self.network.forward_auxiliary(to_float(rainy))
        return derained.float(), {name: tensor.float() for name, tensor in outputs.items()}


class _Forward(nn.Module):
    """All that runs in the precision of the run, and whose gradients processes exchange."""

    def __init__(self, network: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, batch: Sample) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        derained, outputs = self.network(batch.rainy)
        return derained, outputs, self.objective.observe(batch)


def _check_unlabelled(config: TrainConfig, objective: Objective) -> None:
    sources = [p.source for p in config.mixture.parts.values() if p.rain == "unlabelled"]
    for said in (f"rain 'unlabelled' of {(each.root or each.rainy)!r}" for each in sources):
        if not objective.takes_unlabelled:
            raise ConfigError(
                f"mixture.parts: {said} has no clean pictures to learn from; leave it out, or "
                "learn from a teacher: compress distill --teacher CKPT"
            )
        if config.adversarial.weight:
            raise ConfigError(
                f"mixture.parts: {said} has no clean pictures for the discriminator; leave it out, "
                f"or set adversarial.weight to 0, not {config.adversarial.weight}"
            )


def _initial(config: TrainConfig) -> Checkpoint:
    checkpoint = load_checkpoint(config.init)
    wanted = network_config(config.architecture, config.network)
    checkpoint.build()  # refuses weights that do not fit
    same = checkpoint.architecture == config.architecture
    if same and _shape(checkpoint.config) == _shape(wanted):
        return checkpoint
    reason = ""
    if same and config.architecture in ("gan_lstm", "student"):
        try:
            return grow(checkpoint.unquantized(), wanted, config.seed)
        except ValueError as error:
            reason = f"; {error}"
    raise ConfigError(
        f"init {config.init}: is {checkpoint.architecture} {to_plain(checkpoint.config)}, "
        f"not {config.architecture} {to_plain(wanted)}{reason}"
    )


def _shape(config: Any) -> dict[str, Any]:
    # Stages share their weights, so that any number of them can start from any other.
    return {key: value for key, value in to_plain(config).items() if key != "stages"}


def _moving_average(decay: float) -> Any:
    def update(averages: Any, weights: Any, count: Any) -> None:
        # A young average follows quickly, so that it is not held back by the first weights.
        seen = float(count)
        keep = min(decay, (1 + seen) / (10 + seen))
        torch._foreach_lerp_(averages, weights, 1 - keep)

    return update
