import subprocess
import sys
from pathlib import Path

import pytest

import edge_runtime


def test_every_public_name_resolves() -> None:
    for name in edge_runtime.__all__:
        assert getattr(edge_runtime, name) is not None
    with pytest.raises(AttributeError, match="Derainers"):
        _ = edge_runtime.Derainers  # type: ignore[attr-defined]


def test_importing_every_module_loads_no_engine_and_nothing_above() -> None:
    modules = sorted(p.stem for p in Path(edge_runtime.__file__).parent.glob("*.py"))
    code = f"""
import importlib, sys
for name in {modules}:
    importlib.import_module('edge_runtime.' + name if name != '__init__' else 'edge_runtime')
heavy = 'torch onnx tensorflow onnxruntime tqdm core compress export'.split()
print(set(heavy) & sys.modules.keys())
"""
    root = Path(edge_runtime.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("set()", "")
