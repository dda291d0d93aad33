"""Devices, processes, threads and precision of a run, through Lightning Fabric."""

from __future__ import annotations

import atexit
import logging
import os

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import distributed

from core.errors import ConfigError
from core.inference import precision_on
from core.training.config import TrainConfig
from edge_runtime.machine import thread_count


def make_fabric(config: TrainConfig) -> Fabric:
    """Set up devices and processes; under ``torchrun`` this process joins the others.

    With several devices and without ``torchrun``, the same command line is started once more for
    each further device of this machine.

    Raises:
        ConfigError: the devices are not there, or ``torchrun`` started other than one process for
            each.
    """
    for name in ("lightning.fabric", "lightning.pytorch"):
        # It announces the precision, which the config says already.
        logging.getLogger(name).setLevel(logging.WARNING)
    world = os.environ.get("WORLD_SIZE", "")
    if world.isdecimal() and int(world) != config.processes:
        raise ConfigError(
            f"devices {config.devices} x num_nodes {config.num_nodes}: {world} processes were "
            "started for them; give --devices as many as torchrun starts on a machine"
        )
    if config.threads:
        torch.set_num_threads(thread_count(config.threads))
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            precision=precision_on(config.accelerator, config.precision),
        )
        if config.processes > 1:
            fabric.launch()
            atexit.register(_leave_group)
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        cause = " ".join(str(error).split())
        raise ConfigError(
            f"accelerator {config.accelerator}, devices {config.devices}: {cause}"
        ) from error
    if fabric.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    return fabric


def _leave_group() -> None:
    """End the threads that exchange gradients before Python lets go of their tensors."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def hardware(fabric: Fabric) -> str:
    """Name what a run computes on, such as ``2 CPU threads`` or ``2 x NVIDIA H100``."""
    device = fabric.device
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type == "cpu":
        threads = torch.get_num_threads()
        name = f"{threads} CPU thread" + ("s" if threads > 1 else "")
    else:
        name = device.type
    return name if fabric.world_size == 1 else f"{fabric.world_size} x {name}"
