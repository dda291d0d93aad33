"""Time ONNX or TFLite files against each other in one run, turn by turn, as ratios with spread.

    python benchmarks/compare.py ours.onnx theirs.onnx --sizes 481x321 1280x720 --threads 1

Files with a card run as ``edge-derain`` runs them, on the CPU, but whole and not in tiles. Others,
such as exported nets of peers, are given float32 in [0, 1] of the shape that they ask for (NCHW or
NHWC, three channels), with every dimension that is open set to the size; ``--multiple N`` rounds it
up for nets that need that. Only the engine is timed, not the conversion of pixels. Which file goes
first changes from round to round, and each round gives one ratio to the first file, so that a noisy
machine widens the spread and does not shift the median. Time is told twice: by the clock, and what
the processor spent on all threads, which other processes disturb less. Prints Markdown.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.derainer import open_session
from edge_runtime.engines.litert import find_engine
from edge_runtime.engines.onnx_runtime import CPU
from edge_runtime.errors import EdgeDerainError, SessionError
from edge_runtime.machine import machine
from edge_runtime.models.card import card_path, load_card

Run = Callable[[], object]
Clock = Callable[[], float]
Times = np.ndarray[Any, np.dtype[np.float64]]

HEAD = (
    *("size", "file", "ms", "CPU ms", "times the first", "half within"),
    *("CPU times the first", "half within"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first", type=Path, metavar="FILE", help="what ratios are to")
    parser.add_argument("others", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--sizes", nargs="+", default=["481x321", "1280x720"], metavar="WxH")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--multiple", type=int, default=1, help="of files without a card")
    arguments = parser.parse_args()
    sizes = [re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", size) for size in arguments.sizes]
    if None in sizes:
        parser.error("--sizes: must be WIDTHxHEIGHT, such as 1280x720")
    paths = [arguments.first, *arguments.others]
    where = machine()
    print(
        f"{where.cpu}, {where.system}, {', '.join(where.engines.values())}; threads: "
        f"{arguments.threads}; medians of {arguments.rounds} rounds after {arguments.warm_up}.\n"
    )
    print(f"| {' | '.join(HEAD)} |")
    print("| --- | --- | ---: | ---: | ---: | --- | ---: | --- |")
    for match in filter(None, sizes):
        width, height = int(match[1]), int(match[2])
        try:
            runs = [
                opened(path, height, width, arguments.threads, arguments.multiple) for path in paths
            ]
        except EdgeDerainError as error:
            parser.exit(error.exit_code, f"compare.py: error: {error}\n")
        times = interleaved(runs, arguments.rounds, arguments.warm_up)
        for index, path in enumerate(paths):
            cells = (f"{width} x {height}", path.name, *told(times, index))
            print(f"| {' | '.join(cells)} |", flush=True)


def interleaved(
    runs: Sequence[Run],
    rounds: int,
    warm_up: int,
    clocks: Sequence[Clock] = (time.perf_counter, time.process_time),
) -> Times:
    """Return seconds of shape (clocks, rounds, runs); the order turns round every time."""
    times = np.zeros((len(clocks), warm_up + rounds, len(runs)))
    for number in range(warm_up + rounds):
        order = range(len(runs)) if number % 2 == 0 else range(len(runs) - 1, -1, -1)
        for index in order:
            starts = [clock() for clock in clocks]
            runs[index]()
            ends = [clock() for clock in clocks]
            times[:, number, index] = np.subtract(ends, starts)
    return times[:, warm_up:]


def told(times: Times, index: int) -> list[str]:
    """Return the cells of one file: medians by each clock, then ratios with their quartiles."""
    cells = [f"{median:.1f}" for median in np.median(times[:, :, index], axis=1) * 1000]
    for ratios in times[:, :, index] / times[:, :, 0]:
        low, median, high = np.percentile(ratios, [25, 50, 75])
        cells += [f"{median:.2f}", f"{low:.2f} to {high:.2f}"]
    return cells


def opened(path: Path, height: int, width: int, threads: int, multiple: int) -> Run:
    """Open a file for pictures of one size; what is returned runs it once.

    Raises:
        SessionError: it cannot be read, or does not run at this size.
        MissingExtraError: its engine is not installed.
        CardError: its card cannot be read.
    """
    if card_path(path).exists():
        card = load_card(path)
        session = open_session(path, card, threads, CPU)
        batch = _noise(1, 3, _up(height, card.size_multiple), _up(width, card.size_multiple))
        return lambda: session.run(batch)
    height, width = _up(height, multiple), _up(width, multiple)
    open_one = _tflite if path.suffix == ".tflite" else _onnx
    try:
        run = open_one(path, height, width, threads)
        run()
    except EdgeDerainError:
        raise
    except Exception as error:  # engines raise what they like
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise SessionError(
            f"{path}: does not run at {width} x {height} ({why}); give another file, or what its "
            "sizes must be multiples of as --multiple"
        ) from error
    return run


def _onnx(path: Path, height: int, width: int, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    engine = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = engine.get_inputs()[0]
    channels_last = wanted.shape[-1] == 3
    batch = _noise(1, height, width, 3) if channels_last else _noise(1, 3, height, width)
    check_shape(path, wanted.shape, batch.shape)
    return lambda: engine.run(None, {wanted.name: batch})


def _tflite(path: Path, height: int, width: int, threads: int) -> Run:
    interpreter, _ = find_engine()
    engine = interpreter(str(path), num_threads=threads)
    wanted = engine.get_input_details()[0]
    channels_last = wanted["shape_signature"][-1] == 3
    shape = (1, height, width, 3) if channels_last else (1, 3, height, width)
    check_shape(path, wanted["shape_signature"], shape)
    engine.resize_tensor_input(wanted["index"], shape)
    engine.allocate_tensors()
    kind = np.dtype(wanted["dtype"])
    batch = _noise(*shape)
    engine.set_tensor(
        wanted["index"], batch.astype(kind) if kind.kind == "f" else (batch * 127).astype(kind)
    )
    return engine.invoke


def check_shape(path: Path, wanted: Any, shape: tuple[int, ...]) -> None:
    fits = len(wanted) == len(shape) and all(
        not isinstance(w, (int, np.integer)) or w in (-1, s)
        for w, s in zip(wanted, shape, strict=True)
    )
    if not fits:
        raise SystemExit(f"{path}: takes {list(wanted)}, which {list(shape)} does not fit")


def _noise(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).random(shape, np.float32)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


if __name__ == "__main__":
    main()
