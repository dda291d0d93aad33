"""Costs against naive counts, closed forms and tiles."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from compress.cli import main
from compress.cost import (
    Precision,
    ReceptiveField,
    artifact_bytes,
    macs_per_pixel,
    measure_cost,
    measure_receptive_field,
)
from compress.quantization.calibrate import choose_scales, observe
from compress.quantization.quantize import to_fp16, with_scales
from compress.quantization.sensitivity import keep_in_float
from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.networks.gan_lstm import GanLstm, GanLstmConfig
from core.networks.rescan import Rescan, RescanConfig, Unit
from core.networks.student import StudentConfig, StudentNet
from export.build import build_onnx
from tests.conftest import Refused

SIDE = 64


def naive_conv_macs(layer: nn.Conv2d, height: int, width: int) -> int:
    """Visit every output and every kernel tap of one group, then multiply by the channels."""
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    padded = np.zeros((height + 2 * padding, width + 2 * padding))
    count = 0
    for top in range(0, padded.shape[0] - kernel + 1, stride):
        for left in range(0, padded.shape[1] - kernel + 1, stride):
            count += padded[top : top + kernel, left : left + kernel].size
    return count * layer.in_channels // layer.groups * layer.out_channels


def naive_transposed_macs(layer: nn.ConvTranspose2d, height: int, width: int) -> int:
    """Every input value is multiplied with every tap of each output channel of its group."""
    count = 0
    for _ in range(height):
        for _ in range(width):
            count += layer.kernel_size[0] * layer.kernel_size[1]
    return count * layer.in_channels * layer.out_channels // layer.groups


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(3, 8, 6, stride=2, padding=2),
        nn.Conv2d(3, 6, 5, padding=2, groups=3),
        nn.Conv2d(3, 4, 1, bias=False),
    ],
)
def test_macs_of_a_convolution_equal_a_naive_count(layer: nn.Conv2d) -> None:
    assert macs_per_pixel(layer, 2) == naive_conv_macs(layer, SIDE, SIDE) / SIDE**2


@pytest.mark.parametrize(
    "layer",
    [nn.ConvTranspose2d(3, 5, 2, stride=2), nn.ConvTranspose2d(3, 6, 4, stride=2, groups=3)],
)
def test_macs_of_a_transposed_convolution_equal_a_naive_count(layer: nn.ConvTranspose2d) -> None:
    assert macs_per_pixel(layer, 1) == naive_transposed_macs(layer, SIDE, SIDE) / SIDE**2


def test_macs_of_a_linear_layer() -> None:
    class PerPixel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(3, 7)

        def forward(self, rainy: torch.Tensor) -> torch.Tensor:
            return self.mix(rainy.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    assert macs_per_pixel(PerPixel(), 1) == 3 * 7


def test_layers_that_run_twice_count_twice() -> None:
    shared = nn.Conv2d(3, 3, 3, padding=1)
    assert macs_per_pixel(nn.Sequential(shared, shared), 1) == 2 * macs_per_pixel(shared, 1)


def test_student_cost_equals_a_sum_by_hand() -> None:
    config = StudentConfig(widths=(8, 16), encoder_blocks=(1, 2), decoder_blocks=(1,))
    cost = measure_cost(StudentNet(config), config.size_multiple)
    at_half = 3 * 8 * 36 + 2 * (2 * 8 * 8 * 9) + 8 * 3 * 4
    at_quarter = 8 * 16 * 4 + 2 * (2 * 16 * 16 * 9) + 16 * 8 * 4
    assert cost.macs_per_pixel == at_half / 4 + at_quarter / 16
    biases = (8 + 4 * 8 + 3) + (16 + 4 * 16 + 8)
    assert cost.parameters == at_half + at_quarter + biases
    assert cost.bytes_fp32 == 4 * cost.parameters


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_receptive_field_of_stacked_convolutions(depth: int, kernel: int) -> None:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(3, 3, kernel, padding=kernel // 2), nn.ReLU()]
    radius = depth * (kernel // 2)
    expected = ReceptiveField(size=2 * radius + 1, radius=radius)
    assert measure_receptive_field(nn.Sequential(*layers), 1) == expected


def test_receptive_field_of_dilated_convolutions() -> None:
    layers = [nn.Conv2d(3, 3, 3, padding=rate, dilation=rate) for rate in (1, 2, 4)]
    assert measure_receptive_field(nn.Sequential(*layers), 1) == ReceptiveField(15, 7)


def test_receptive_field_depends_on_the_phase_of_a_stride() -> None:
    # Four pixels in a block share one feature: the first of them looks three to the right.
    net = nn.Sequential(nn.Conv2d(3, 4, 4, stride=4), nn.ConvTranspose2d(4, 3, 4, stride=4))
    assert measure_receptive_field(net, 4) == ReceptiveField(size=4, radius=3)


def test_receptive_field_of_strided_and_transposed_convolutions() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 6, stride=2, padding=2),  # 6 pixels: 2 before and 2 after its block
        nn.Conv2d(4, 4, 3, padding=1),  # one feature, two pixels, more to each side
        nn.ConvTranspose2d(4, 3, 2, stride=2),
    )
    assert measure_receptive_field(net, 2) == ReceptiveField(size=10, radius=5)


def test_receptive_field_of_a_long_kernel_takes_the_longer_axis() -> None:
    assert measure_receptive_field(nn.Conv2d(3, 3, (1, 9), padding=(0, 4)), 1).radius == 4


@pytest.mark.parametrize("dilation", [70, 130, 250])
def test_receptive_field_that_needs_the_longer_strip(dilation: int) -> None:
    layer = nn.Conv2d(3, 3, 3, padding=dilation, dilation=dilation)
    expected = ReceptiveField(size=2 * dilation + 1, radius=dilation)
    assert measure_receptive_field(layer, 1) == expected


@pytest.mark.parametrize(("blocks", "scale"), [(2, 1), (12, 1), (3, 2)])
def test_receptive_field_through_gates_equals_a_sum_by_hand(blocks: int, scale: int) -> None:
    config = GanLstmConfig(
        width=4, stages=2, blocks=blocks, attention="spatial", body_scale=scale, radius=4
    )
    # f_in, the cell, f_out, and three convolutions a block; the filter, twice its radius; with a
    # scale, the far end of a cell.
    radius = 2 * scale * (3 + 3 * blocks) + 2 * 4 + scale - 1
    assert measure_receptive_field(GanLstm(config), scale).radius == radius


def test_global_pooling_has_no_receptive_field_and_no_halo() -> None:
    class Global(nn.Module):
        def forward(self, rainy: torch.Tensor) -> torch.Tensor:
            return rainy + rainy.mean(dim=(2, 3), keepdim=True)

    cost = measure_cost(Global(), 1)
    assert (cost.receptive_field, cost.halo) == (None, None)


@pytest.mark.parametrize(("unit", "gates"), [("conv_rnn", 1), ("gru", 3), ("lstm", 4)])
def test_rescan_cost_equals_a_sum_by_hand(unit: Unit, gates: int) -> None:
    cost = measure_cost(Rescan(RescanConfig(width=8, depth=4, stages=3, unit=unit)), 1)
    from_input, from_hidden = gates * (3 + 8) * 8 * 9, gates * 2 * 8 * 8 * 9
    merge, exit, squeezes = 8 * 8 * 9, 8 * 3, 3 * 2 * (8 * 4)
    stages = 3 * (from_input + merge + exit) + 2 * from_hidden  # the first has no hidden state
    assert cost.macs_per_pixel == stages + 3 * squeezes / 64**2  # once a picture, not a pixel
    biases = 2 * gates * 8 + 8 + 3 + 3 * (4 + 8)
    assert cost.parameters == from_input + from_hidden + merge + exit + squeezes + biases
    assert (cost.receptive_field, cost.halo) == (None, None)


def test_the_module_is_left_as_it_is() -> None:
    net = StudentNet(StudentConfig((8,), (1,), ())).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    measure_cost(net, 2)
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_tiles_that_overlap_by_the_halo_are_exact() -> None:
    config = StudentConfig(widths=(8, 16), encoder_blocks=(1, 1), decoder_blocks=(1,))
    torch.manual_seed(0)
    net = StudentNet(config).eval().double()
    nn.init.normal_(net.exit.weight)
    halo, step = measure_cost(net, config.size_multiple).halo, config.size_multiple
    side = 2 * halo + 4 * step
    picture = torch.rand(1, 3, side, side, dtype=torch.float64)
    start, stop = halo + step, halo + 2 * step

    def tile(overlap: int) -> torch.Tensor:
        low, high = start - overlap, stop + overlap
        inner = slice(overlap, overlap + step)
        return net(picture[:, :, low:high, low:high])[:, :, inner, inner]

    with torch.no_grad():
        whole = net(picture)[:, :, start:stop, start:stop]
        assert torch.allclose(tile(halo), whole, rtol=0, atol=1e-12)
        assert not torch.allclose(tile(halo - 2 * step), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("precision", "keep_float"),
    [("fp32", ()), ("fp16", ()), ("int8", ()), ("int8", ("encoder.1.0.first",))],
)
def test_the_estimate_is_a_little_above_the_file(
    tmp_path: Path, precision: Precision, keep_float: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    config = StudentConfig((16, 24), (1, 1), (1,))
    net = StudentNet(config).eval()
    nn.init.normal_(net.exit.weight, std=0.05)
    checkpoint = Checkpoint("tiny", "student", "student", config, net.state_dict())
    if precision == "fp16":
        checkpoint = to_fp16(checkpoint)
    if precision == "int8":
        crops = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
        scales = choose_scales(observe(net, crops, progress=False), "minmax", symmetric=False)
        checkpoint = keep_in_float(with_scales(checkpoint, scales), keep_float)
    built = build_onnx(checkpoint, tmp_path)
    size = built.artifact.stat().st_size
    assert size <= artifact_bytes(net, precision, keep_float) <= size + 2500


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    config = StudentConfig(widths=(8,), encoder_blocks=(1,), decoder_blocks=())
    path = tmp_path / "tiny.safetensors"
    weights = StudentNet(config).state_dict()
    save_checkpoint(path, Checkpoint("tiny", "student", "student", config, weights))
    return path


def test_table(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", str(checkpoint)]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["name", "architecture", "parameters"]
    # 3*8*36 + 2*8*8*9 + 8*3*4 products, and 8 + 2*8 + 3 biases; a quarter of the pixels.
    assert row.split()[:5] == ["tiny", "student", "2,139", "8.6", "12.6"]
    assert row.split()[5:] == ["0.528", "14", "8"]
    save_checkpoint(checkpoint, to_fp16(load_checkpoint(checkpoint)))
    assert main(["cost", str(checkpoint)]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[3:5] == ["8.6", "8.3"]


def test_json_has_one_object_a_checkpoint(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", str(checkpoint), str(checkpoint), "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) == 2
    assert records[0]["path"] == str(checkpoint)
    assert records[0]["parameters"] == 2139
    assert records[0]["macs_per_pixel"] == 528.0


def test_a_missing_checkpoint_is_one_line(tmp_path: Path, refused: Refused) -> None:
    place = str(tmp_path / "none.safetensors")
    assert refused(main, ["cost", place], "none.safetensors") == 1


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\nfrom compress.cli import main\n"
        "try:\n    main(['cost', '--help'])\n"
        "except SystemExit as stopped:\n    assert stopped.code == 0\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_missing_torch_names_the_extra(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("core", "compress")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main(["cost", str(checkpoint)]) == 1
    assert capsys.readouterr().err == (
        "compress: error: torch is not installed; run: pip install torch\n"
    )
