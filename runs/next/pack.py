"""Put a work folder under version control without the folders of this machine, and back.

    python pack.py out WORK DIR          copy what a recipe needs to go on from WORK to DIR
    python pack.py in DIR WORK DATA      and back; DATA is the data root as `compress run` will be given it
"""

import json
import shutil
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

KEY = "edge_derain.training_state"


def moved(state: Path, target: Path, change: dict[str, str]) -> None:
    with safe_open(state, "pt") as file:
        header = json.loads(file.metadata()[KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    config = header["progress"]["config"]
    config.update(change)
    before = Path(config["init"])  # the step before
    config["init"] = str(target.resolve().parents[2] / before.name) if change["out"] else before.name
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, {KEY: json.dumps(header)})


def main() -> None:
    way, source, target, *data = sys.argv[1:]
    source, target = Path(source), Path(target)
    for path in source.rglob("*"):
        if path.is_dir() or path.suffix == ".csv" or "tfevents" in path.name or "previous" in path.name:
            continue
        inside = path.relative_to(source)
        done = (source / inside.parts[0]).with_suffix(".safetensors").exists()
        if path.name == "config.yaml" or (len(inside.parts) > 1 and done):
            continue
        place = target / inside
        if path.name == "state.safetensors":
            out = "" if way == "out" else str(target.resolve() / inside.parts[0])
            moved(path, place, {"out": out, "data_root": data[0] if data else "data"})
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


if __name__ == "__main__":
    main()
