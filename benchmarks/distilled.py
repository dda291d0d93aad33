"""Does a teacher help? Train students alone and under a teacher, alike in all else, and compare.

    python benchmarks/distilled.py --config configs/controls.yaml --students small nano \\
      --teacher gan_lstm --steps 1500 --seeds 0 1 2 --data-root DATA --out runs/controls

Both runs of a pair start from the same random weights and see the same crops. Prints Markdown: PSNR
(rgb, dB) of each run at its end on the validation sets of the config, the mean over the seeds, and
how far the taught ones are above the ones alone, with the standard error of that over the seeds.
What was trained before in --out is read and not trained again.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from compress.distill import DistillConfig, distill, student_options
from core.errors import ConfigError
from core.training.log import last_values
from core.training.options import parse_training, training_parser
from edge_runtime.errors import EdgeDerainError

Scores = dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="YAML of compress distill")
    parser.add_argument("--students", nargs="+", required=True, metavar="CKPT")
    parser.add_argument("--teacher", required=True, help="as compress distill takes it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/controls"))
    known, options = parser.parse_known_args(argv)
    try:
        for student in known.students:
            compare(student, known, options)
    except EdgeDerainError as error:
        print(f"distilled: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def compare(student: str, known: argparse.Namespace, options: list[str]) -> None:
    """Train all runs of one student and print their table."""
    alone: list[Scores] = []
    taught: list[Scores] = []
    for seed in known.seeds:
        for scores, teacher in ((alone, ""), (taught, known.teacher)):
            config = _config(student, teacher, seed, known, options)
            scores.append(_scores(config))
    sets = list(alone[0])
    print(f"\n{Path(student).stem}, {config.steps} steps\n")
    print("| run | seed |", *(f"{name} |" for name in sets))
    print("| --- | --- |", " ---: |" * len(sets))
    for name, rows in (("alone", alone), ("taught", taught)):
        for seed, row in zip(known.seeds, rows, strict=True):
            print(f"| {name} | {seed} |", *(f"{row[each]:.2f} |" for each in sets))
    for name, rows in (("alone", alone), ("taught", taught)):
        means = (statistics.mean(row[each] for row in rows) for each in sets)
        print(f"| **{name}** | mean |", *(f"{mean:.2f} |" for mean in means))
    print("| taught over alone | mean |", *(f"{_gain(alone, taught, each)} |" for each in sets))
    sys.stdout.flush()


def _config(
    student: str, teacher: str, seed: int, known: argparse.Namespace, options: list[str]
) -> DistillConfig:
    name = f"{Path(student).stem}_{'taught' if teacher else 'alone'}_{seed}"
    fixed = [f"--teacher={teacher}", f"--seed={seed}", f"--name={name}", f"--out={known.out}"]
    parser = training_parser(DistillConfig)
    arguments = ["--config", known.config, *student_options(student), *options, *fixed]
    config, _ = parse_training(DistillConfig, parser, arguments)
    return dataclasses.replace(config, validate_every=config.steps)


def _scores(config: DistillConfig) -> Scores:
    """Train where that was not done yet, and return the last validation."""
    folder = Path(config.out) / config.name
    result = distill(config, resume=(folder / "state.safetensors").exists())
    if result.step < result.steps:
        raise ConfigError(f"{folder}: stopped at step {result.step}; run this again to go on")
    values = last_values(folder / "logs")
    return {name: values[f"{name}/rgb_psnr"] for name in config.validation}


def _gain(alone: list[Scores], taught: list[Scores], name: str) -> str:
    gains = [two[name] - one[name] for one, two in zip(alone, taught, strict=True)]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    return f"{statistics.mean(gains):+.2f} ± {error:.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
