"""The way of a picture is short: few modules, one card, one look at the file's header."""

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

MODULES = 25

_SCRIPT = """
import json, sys
import pyvips
opened, loads, call = [], [], pyvips.Operation.call
sys.addaudithook(lambda event, arguments: opened.append(arguments[0]) if event == "open" else None)

def counted(name, *arguments, **options):
    loads.extend([name] * name.endswith("load_buffer"))
    return call(name, *arguments, **options)

pyvips.Operation.call = counted
from edge_runtime.cli import main
assert main(sys.argv[1:]) == 0
print(json.dumps({
    "modules": sorted(name for name in sys.modules if name.split(".")[0] == "edge_runtime"),
    "files": [str(name) for name in opened],
    "loads": loads,
}))
"""


def test_a_picture_takes_few_modules_one_card_and_one_look(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a street"
    Image.new("RGB", (40, 30), "navy").save(tmp_path / "a.jpg", exif=exif, dpi=(300, 300))
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, "a.jpg", "--model", "small"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "XDG_CACHE_HOME": str(tmp_path / "cache"),
        },
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    cards = [Path(name).name for name in found["files"] if name.endswith(".onnx.json")]
    assert cards == ["small_fp32.onnx.json"]
    assert found["loads"] == ["jpegload_buffer"]
    assert len(found["modules"]) <= MODULES, found["modules"]
