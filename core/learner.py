"""The part of training that knows nothing of files: a network, its optimizer and one step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from core.adversary import Adversary
from core.checkpoint import Checkpoint, TrainingCost, load_checkpoint
from core.config import network_config, to_plain
from core.devices import hardware, make_fabric
from core.errors import ConfigError, TrainingError
from core.losses import reconstruction_loss
from core.networks import ARCHITECTURES
from core.train_config import TrainConfig
from core.training_state import Stateful


class Learner:
    """A network in training.

    Attributes:
        fabric: devices, processes and precision.
        network_config: instance of the architecture's config dataclass.
        module: the network in training.
        average: moving average of its weights, ``average.module``: what is judged and kept.
        optimizer: AdamW; ``optimizer.optimizer`` is the bare one.
        adversary: of the GAN phase, None in a run without one.

    Raises:
        CheckpointError: ``config.init`` cannot be read.
        ConfigError: ``config.init`` holds another network, or the devices are not there.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.fabric = make_fabric(config)
        torch.manual_seed(config.seed)
        self.network_config = network_config(config.architecture, config.network)
        network: nn.Module = ARCHITECTURES[config.architecture].module(self.network_config)
        self._earlier = _initial(config) if config.init else None
        if self._earlier:
            network.load_state_dict(self._earlier.weights)
        self.module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(
            self.module.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            betas=(0.9, 0.99),
        )
        forward: Any = _FromBytes(self.module)
        if config.compile:
            forward = torch.compile(forward)
        self._network: Any
        self._network, self.optimizer = self.fabric.setup(forward, optimizer)
        self.average = AveragedModel(self.module, multi_avg_fn=_moving_average(config.ema_decay))
        adversarial = config.adversarial
        self.adversary = Adversary(adversarial, self.fabric) if adversarial.weight else None

    def update(self, rainy: Tensor, clean: Tensor, step: int) -> Mapping[str, Tensor]:
        """Take one step.

        Args:
            rainy: uint8 (N, 3, H, W) RGB, this process's share of the batch, N a multiple of
                ``config.accumulate``, H and W multiples of the network's ``size_multiple``.
            clean: the same shape.
            step: finished steps.

        Returns:
            Losses before the step by name, float scalars without gradient: ``loss``, the sum of
            all terms; in the GAN phase also ``adversarial``, the part of it that the
            discriminator contributes, and ``discriminator``, the loss of that.

        Raises:
            TrainingError: a gradient is not finite; the weights have not changed then.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate_at(step)
        self._network.train()
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.config.accumulate
        losses: dict[str, Tensor] = {}
        for index, pair in enumerate(zip(rainy.chunk(parts), clean.chunk(parts), strict=True)):
            for name, loss in self._collect(*pair, step, last=index + 1 == parts).items():
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

    def _collect(self, rainy: Tensor, clean: Tensor, step: int, last: bool) -> dict[str, Tensor]:
        parts = self.config.accumulate
        adversary = self.adversary if step >= self.config.adversarial.start else None
        with self.fabric.no_backward_sync(self._network, enabled=not last):
            derained, wanted = self._network(rainy), _to_float(clean)
            loss = reconstruction_loss(derained, wanted, self.config.loss)
            losses = {}
            if adversary:
                losses["adversarial"] = adversary.generator_loss(derained, wanted)
                loss = loss + losses["adversarial"]
            losses["loss"] = loss
            self.fabric.backward(loss / parts)
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
        line = (
            f"train: {config.architecture} {start}, {step} of {config.steps} steps of "
            f"{config.batch_size} x {mixture.crop} x {mixture.crop}, "
            f"{config.precision}, seed {config.seed}"
        )
        if self.adversary and step > config.adversarial.start:
            line += f", adversarial loss from step {config.adversarial.start}"
        names = {part.source.name for part in mixture.parts}
        names |= {part.lender.name for part in mixture.parts if part.lender}
        if mixture.generated.streaks:
            names.add(Path(mixture.generated.streaks).name)
        return Checkpoint(
            name=config.name,
            role=config.role,
            architecture=config.architecture,
            config=self.network_config,
            weights=self.average.module.state_dict(),
            recipe=(*(before.recipe if before else ()), line),
            data=tuple(sorted(names.union(before.data if before else ()))),
            versions={name: version(name) for name in ("torch", "lightning", "numpy")},
            cost=self._cost(step, seconds),
        )

    def _cost(self, step: int, seconds: float) -> TrainingCost | None:
        hours, device = seconds / 3600, hardware(self.fabric)
        if not self._earlier:
            return TrainingCost(step, hours, device)
        before = self._earlier.cost
        if before is None:
            return None
        both = device if before.hardware == device else f"{before.hardware}; {device}"
        return TrainingCost(before.steps + step, before.hours + hours, both)


class _FromBytes(nn.Module):
    """Takes pictures as bytes, because Fabric rounds inputs that are floats to 16 bits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rainy: Tensor) -> Tensor:
        derained: Tensor = self.network(_to_float(rainy))
        return derained.float()


def _initial(config: TrainConfig) -> Checkpoint:
    checkpoint = load_checkpoint(config.init)
    wanted = network_config(config.architecture, config.network)
    if checkpoint.architecture != config.architecture or _shape(checkpoint.config) != _shape(
        wanted
    ):
        raise ConfigError(
            f"init {config.init}: is {checkpoint.architecture} {to_plain(checkpoint.config)}, "
            f"not {config.architecture} {to_plain(wanted)}"
        )
    checkpoint.build()  # refuses weights that do not fit
    return checkpoint


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


def _to_float(batch: Tensor) -> Tensor:
    return (batch.float() / 255).contiguous(memory_format=torch.channels_last)
