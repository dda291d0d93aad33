"""``derain table papers``: the page that sets the papers' methods beside ours."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def papers(arguments: Sequence[str]) -> int:
    """Run ``derain table papers`` and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="derain table papers",
        description="Compare the methods of the papers with ours: quality, cost, what is printed.",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML (default: configs/papers.yaml)")
    parser.add_argument("-o", dest="out", metavar="FILE", help="Markdown to write (default: print)")
    parser.add_argument("--strip", metavar="FILE", help="write a strip of pictures as PNG as well")
    parser.add_argument(
        "--picture",
        metavar="DATASET/NAME",
        default="heavy/rocket",
        help="of the shipped reference set, for --strip (default: heavy/rocket)",
    )
    options = parser.parse_args(arguments)

    from core.config import load_config
    from core.evaluation.files import check_text_target, write_text
    from core.papers.config import SHIPPED, PapersConfig
    from core.papers.methods import know
    from core.papers.page import page
    from core.papers.seconds import seconds, timing_picture
    from core.papers.strip import read_pair, strip
    from core.progress import track
    from edge_runtime.machine import machine
    from edge_runtime.pictures.picture import Picture, check_suffix, write_picture

    config = load_config(PapersConfig, options.config or SHIPPED)
    for option, name in (("-o", options.out), ("--strip", options.strip)):
        if name:
            check_text_target(option, Path(name))
    if options.strip:
        check_suffix(Path(options.strip))
    pair = read_pair(options.picture) if options.strip else None
    known = [know(method) for method in config.methods]
    taken, derained, rainy = {}, {}, timing_picture()
    for each in track(known, "methods"):
        if each.derain is None:
            continue
        taken[each.method.name] = seconds(each.derain, rainy)
        if pair and each.method.strip:
            derained[each.method.name] = each.derain(pair[0])
    for each in known:
        if each.missing:
            print(f"derain: {each.method.name}: {each.missing}", file=sys.stderr)
    address = None
    if options.strip:
        address = Path(os.path.relpath(options.strip, Path(options.out or ".").parent)).as_posix()
    text = page(config, known, taken, machine().cpu, address)
    if pair:
        write_picture(options.strip, Picture(strip(*pair, derained)))
    if options.out:
        write_text("-o", Path(options.out), text)
    else:
        print(text, end="")
    return 0
