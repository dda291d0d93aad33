"""Which structure of a student earns its cost? Train variants of one budget alike, and compare.

    python benchmarks/structures.py --config configs/structures.yaml --data-root DATA

Every variant costs about as many MACs per pixel as ``plain``, the shipped structure, starts from
random weights and sees the same crops. Prints Markdown: cost, time beside ``plain`` (PyTorch, one
thread, in one run) and PSNR (rgb, dB) on the validation sets of the config, the mean over the
seeds. What was trained before in --out is read and not trained again.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compress.cost import measure_cost
from core.config import to_plain
from core.errors import ConfigError
from core.networks import ARCHITECTURES, Architecture
from core.networks.frequency import decompose
from core.networks.layers import ConvLSTMCell
from core.networks.student import ResidualBlock, StudentConfig, StudentNet
from core.training.config import TrainConfig
from core.training.log import last_values
from core.training.options import parse_training, training_parser
from core.training.train import train
from edge_runtime.errors import EdgeDerainError

RADIUS, EPS = 4, 0.01  # of the base layer, as the teacher's
TIMED = (1, 3, 384, 640)
ROUNDS = 9


@dataclass(frozen=True)
class VariantConfig(StudentConfig):
    """A student's shape and in what it differs from the shipped structure.

    Attributes:
        block: ``plain`` is two 3x3 convolutions; ``depthwise`` is 1x1, depthwise 3x3, 1x1
            (inverted residual of MobileNetV2, Sandler et al., CVPR 2018) with the inner channels
            of the config; ``branched`` gives every 3x3 convolution of a block parallel 1x1, 1x3
            and 3x1 ones that are folded into it after training (RepVGG, Ding et al., CVPR 2021,
            without normalization).
        skip: how the way down joins the way up.
        base: give the base layer (GAN-LSTM paper, eq. 1) beside the rainy picture.
        stages: passes; from 2 on each also gets the result of the pass before, and a ConvLSTM
            after the entry carries its state from pass to pass, as in the teacher.
    """

    block: Literal["plain", "depthwise", "branched"] = "plain"
    skip: Literal["add", "concatenate", "none"] = "add"
    base: bool = False
    stages: int = 1


class Depthwise(nn.Module):
    """``x + project(relu(depthwise(relu(expand(x)))))``."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, inner, 1)
        self.depthwise = nn.Conv2d(inner, inner, 3, padding=1, groups=inner)
        self.project = nn.Conv2d(inner, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.project(torch.relu(self.depthwise(torch.relu(self.expand(x)))))
        return x + change


class Branched(nn.Module):
    """A 3x3 convolution with parallel smaller ones, all added."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.full = nn.Conv2d(inputs, outputs, 3, padding=1)
        shapes = ((1, 1), (1, 3), (3, 1))
        self.branches = nn.ModuleList(
            nn.Conv2d(inputs, outputs, shape, padding=(shape[0] // 2, shape[1] // 2), bias=False)
            for shape in shapes
        )

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.full(x)
        for branch in self.branches:
            total = total + branch(x)
        return total

    def folded(self) -> nn.Conv2d:
        """Return the one convolution that computes the same."""
        conv = nn.Conv2d(self.full.in_channels, self.full.out_channels, 3, padding=1)
        weight = self.full.weight.detach().clone()
        for branch in self.branches:
            height, width = branch.weight.shape[2:]
            sides = ((3 - width) // 2,) * 2 + ((3 - height) // 2,) * 2
            weight += F.pad(branch.weight.detach(), sides)
        assert self.full.bias is not None
        conv.load_state_dict({"weight": weight, "bias": self.full.bias.detach()})
        return conv


class Variant(StudentNet):
    """A :class:`StudentNet` with the differences of its config. Shapes as there."""

    config: VariantConfig

    def __init__(self, config: VariantConfig) -> None:
        super().__init__(config)
        widths = config.widths
        for level in (*self.encoder, *self.decoder):
            for index, block in enumerate(cast("nn.Sequential", level)):
                level[index] = _block(cast("ResidualBlock", block), config.block)
        if config.skip == "concatenate":
            self.merge = nn.ModuleList(nn.Conv2d(2 * width, width, 1) for width in widths[:-1])
        inputs = 3 * (1 + config.base + (config.stages > 1))
        if inputs > 3:
            self.entry = nn.Conv2d(inputs, widths[0], 6, stride=2, padding=2)
        if config.stages > 1:
            self.lstm = ConvLSTMCell(widths[0])

    def forward(self, rainy: Tensor) -> Tensor:
        given = [rainy]
        if self.config.base:
            given.append(decompose(rainy, RADIUS, EPS)[0])
        if self.config.stages == 1:
            return rainy + self._change(torch.relu(self.entry(torch.cat(given, 1))))
        derained, hidden, cell = rainy, None, None
        for _ in range(self.config.stages):
            x = torch.relu(self.entry(torch.cat([derained, *given], 1)))
            hidden, cell = self.lstm(x, hidden, cell)
            derained = rainy + self._change(hidden)
        return derained

    def _change(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            x = blocks(torch.relu(self.down[level - 1](x)) if level else x)
            skips.append(x)
        for level in reversed(range(len(self.decoder))):
            x = self.up[level](x)
            if self.config.skip == "add":
                x = x + skips[level]
            elif self.config.skip == "concatenate":
                x = self.merge[level](torch.cat([x, skips[level]], 1))
            x = self.decoder[level](torch.relu(x))
        change: Tensor = self.exit(x)
        return change

    def folded(self) -> nn.Module:
        """Return the network as it would ship: with one convolution for all branches of it."""
        if self.config.block != "branched":
            return self
        network = Variant(dataclasses.replace(self.config, block="plain"))
        folded = dict(self.state_dict())
        for name, module in self.named_modules():
            if isinstance(module, Branched):
                kept = module.folded().state_dict()
                folded = {key: v for key, v in folded.items() if not key.startswith(f"{name}.")}
                folded |= {f"{name}.{key}": value for key, value in kept.items()}
        network.load_state_dict(folded)
        return network


def _block(block: ResidualBlock, kind: str) -> nn.Module:
    width, inner = block.first.in_channels, block.first.out_channels
    if kind == "depthwise":
        return Depthwise(width, inner)
    if kind == "branched":
        block.first = cast("nn.Conv2d", Branched(width, inner))
        block.second = cast("nn.Conv2d", Branched(inner, width))
    return block


_LEVELS = {"encoder_blocks": (1, 1, 1, 1), "decoder_blocks": (2, 1, 0)}
VARIANTS = {
    "plain": VariantConfig((16, 32, 48, 48), **_LEVELS),
    "depthwise": VariantConfig(
        (16, 32, 48, 48),
        (2, 2, 2, 2),
        (3, 2, 2),
        ((64, 64), (112, 112), (144, 144), (144, 144)),
        ((64, 64, 64), (112, 112), (144, 144)),
        block="depthwise",
    ),
    "branched": VariantConfig((16, 32, 48, 48), **_LEVELS, block="branched"),
    "concatenated skips": VariantConfig((16, 32, 40, 48), **_LEVELS, skip="concatenate"),
    "no skips": VariantConfig((16, 32, 48, 48), **_LEVELS, skip="none"),
    "base layer": VariantConfig((16, 32, 40, 48), **_LEVELS, base=True),
    "two stages": VariantConfig((8, 24, 24, 32), (1, 1, 1, 1), (1, 1, 0), stages=2),
}
"""Each within a few per cent of the MACs of the first."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="YAML of derain train")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("runs/structures"))
    known, options = parser.parse_known_args(argv)
    try:
        print_table(known, options)
    except EdgeDerainError as error:
        print(f"structures: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def print_table(known: argparse.Namespace, options: list[str]) -> None:
    """Train what was not trained yet, and print a row for each variant."""
    rows = {
        name: [_scores(name, seed, known, options) for seed in known.seeds]
        for name in known.variants
    }
    times = _times(["plain", *(name for name in known.variants if name != "plain")])
    sets = list(rows[known.variants[0]][0])
    print("| structure | kMAC/pixel | parameters | time |", *(f"{name} |" for name in sets))
    print("| --- | ---: | ---: | ---: |", *("---: |" for _ in sets))
    for name, scores in rows.items():
        network = Variant(VARIANTS[name]).folded()
        cost = measure_cost(network, VARIANTS[name].size_multiple)
        means = (statistics.mean(score[each] for score in scores) for each in sets)
        size = f"{cost.macs_per_pixel / 1000:.2f} | {cost.parameters:,}"
        ratio = times[name] / times["plain"]
        print(f"| {name} | {size} | {ratio:.2f} |", *(f"{mean:.2f} |" for mean in means))
    sys.stdout.flush()


def _scores(
    name: str, seed: int, known: argparse.Namespace, options: list[str]
) -> dict[str, float]:
    """Train one variant where that was not done yet, and return its last validation."""
    parser = training_parser(TrainConfig)
    fixed = [f"--seed={seed}", f"--out={known.out}"]
    config, _ = parse_training(TrainConfig, parser, ["--config", known.config, *options, *fixed])
    with _architecture(name) as architecture:
        config = dataclasses.replace(
            config,
            name=f"{architecture}_{seed}",
            architecture=architecture,
            network=cast("dict[str, object]", to_plain(VARIANTS[name])),
            validate_every=config.steps,
        )
        folder = Path(config.out) / config.name
        result = train(config, resume=(folder / "state.safetensors").exists())
    if result.step < result.steps:
        raise ConfigError(f"{folder}: stopped at step {result.step}; run this again to go on")
    values = last_values(folder / "logs")
    return {each: values[f"{each}/rgb_psnr"] for each in config.validation}


@contextlib.contextmanager
def _architecture(name: str) -> Iterator[str]:
    """Make a variant known as an architecture for as long as it is trained."""
    architecture = f"student_{name.replace(' ', '_')}"
    ARCHITECTURES[architecture] = Architecture(VariantConfig, Variant)
    try:
        yield architecture
    finally:
        del ARCHITECTURES[architecture]


def _times(names: Sequence[str]) -> dict[str, float]:
    """Median seconds of a pass on one thread, the variants in turn."""
    torch.set_num_threads(1)
    picture = torch.rand(TIMED).contiguous(memory_format=torch.channels_last)
    networks = {
        name: Variant(VARIANTS[name]).folded().eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for name in names
    }
    taken: dict[str, list[float]] = {name: [] for name in names}
    with torch.no_grad():
        for _ in range(ROUNDS):
            for name, network in networks.items():
                start = time.perf_counter()
                network(picture)
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


if __name__ == "__main__":
    raise SystemExit(main())
