"""Every command says which version it is of."""

from collections.abc import Callable, Sequence

import pytest

import compress.cli
import core.cli
import edge_runtime
import edge_runtime.cli
import edge_runtime.report.cli
import export.cli

Main = Callable[[Sequence[str] | None], int]


@pytest.mark.parametrize(
    ("name", "main"),
    [
        ("edge-derain", edge_runtime.cli.main),
        ("edge-report", edge_runtime.report.cli.main),
        ("derain", core.cli.main),
        ("compress", compress.cli.main),
        ("derain-export", export.cli.main),
    ],
)
def test_version(name: str, main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["--version"])
    except SystemExit as end:  # argparse leaves that way
        code = int(end.code or 0)
    assert (code, capsys.readouterr().out) == (0, f"{name} {edge_runtime.__version__}\n")
