import torch

from core.mixture.sample import Kind, Sample, to_float


def test_a_batch_is_cut_along_its_samples() -> None:
    pictures = torch.arange(4 * 3 * 2 * 2, dtype=torch.uint8).reshape(4, 3, 2, 2)
    kinds = torch.tensor([int(kind) for kind in Kind])
    batch = Sample(pictures, 255 - pictures, kinds, torch.empty(4, 0, dtype=torch.uint8))
    first, second = batch.chunk(2)
    assert torch.equal(torch.cat([first.rainy, second.rainy]), batch.rainy)
    assert torch.equal(second.clean, batch.clean[2:])
    assert second.kind.tolist() == [Kind.DRY, Kind.UNLABELLED]
    assert first.taught.shape == (2, 0)


def test_bytes_become_floats_channels_last() -> None:
    colour = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
    found = to_float(colour.expand(2, 3, 4, 4))
    assert found[1, :, 2, 3].tolist() == [0.0, torch.tensor(0.2).item(), 1.0]
    assert found.is_contiguous(memory_format=torch.channels_last)
