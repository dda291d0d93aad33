"""``derain gmm-prior``: learn the background mixture of ``derain evaluate --method gmm``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def gmm_prior(arguments: Sequence[str]) -> int:
    """Run ``derain gmm-prior`` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="derain gmm-prior",
        description="Learn a Gaussian mixture of 8x8 patches of clean photographs.",
    )
    parser.add_argument(
        "--config", metavar="FILE", required=True, help="YAML with the data (gmm_prior.yaml)"
    )
    parser.add_argument("--data-root", "--data_root", metavar="DIR", help="folder of the data sets")
    parser.add_argument("-o", dest="out", metavar="FILE", required=True, help=".safetensors")
    options = parser.parse_args(arguments)

    from core.config import config_parser, parse_config
    from core.evaluation.files import check_text_target
    from core.papers.gmm.files import save_mixture
    from core.papers.gmm.learn import PriorConfig, learn_background

    values = ["--config", options.config]
    if options.data_root:
        values += ["--data_root", options.data_root]
    config = parse_config(PriorConfig, config_parser(PriorConfig), values)
    out = Path(options.out)
    check_text_target("-o", out)
    mixture = learn_background(config, progress=True)
    save_mixture(out, mixture, config)
    print(f"{len(mixture.weights)} components, {mixture.parameters:,} numbers: {out}")
    return 0
