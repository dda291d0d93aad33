"""Muon: momentum whose matrices are made orthogonal before they are added to the weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_ADAM_SIZE = 0.2
_TINY = 1e-7
_MOMENTUM = 0.95
_BETAS = (0.9, 0.99)
_EPS = 1e-8


class Muon(Optimizer):
    """Muon for the weights of convolutions, AdamW for all other parameters.

    A weight of shape (O, I, h, w) is taken as a matrix of O rows. Its momentum (Nesterov's) is made
    nearly orthogonal by five Newton-Schulz rounds (Jordan, "Muon: an optimizer for hidden layers in
    neural networks", 2024), and scaled so that the root mean square of a step is that of AdamW, so
    that both take the same learning rate (Liu et al., "Muon is scalable for LLM training",
    arXiv 2502.16982, section 2.2).

    Args:
        parameters: floats; those with four dimensions are stepped by Muon.
        lr: learning rate of both.
        weight_decay: decoupled, of both.
        precision: of the Newton-Schulz rounds; None is as :func:`orthogonal` chooses it.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        precision: torch.dtype | None = None,
    ) -> None:
        self._precision = precision
        super().__init__(list(parameters), {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take one step; no ``closure`` is asked for the loss."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                rule = self._muon if weight.ndim == 4 else self._adam
                change = rule(weight.grad, self.state[weight])
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(change, alpha=-group["lr"])

    def _muon(self, gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        momentum = state["momentum"].lerp_(gradient, 1 - _MOMENTUM)
        matrix = gradient.lerp(momentum, _MOMENTUM).flatten(1)
        scale: float = _ADAM_SIZE * max(matrix.shape) ** 0.5
        return scale * orthogonal(matrix, self._precision).reshape(gradient.shape)

    @staticmethod
    def _adam(gradient: Tensor, state: dict[str, Tensor]) -> Tensor:
        if not state:
            state["step"] = torch.zeros(())
            state["mean"], state["square"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["step"] += 1
        first, second = _BETAS
        mean = state["mean"].lerp_(gradient, 1 - first)
        square = state["square"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        count = float(state["step"])
        spread: Tensor = (square / (1 - second**count)).sqrt_().add_(_EPS)
        change: Tensor = mean / (1 - first**count) / spread
        return change


def orthogonal(matrix: Tensor, precision: torch.dtype | None = None) -> Tensor:
    """Return a matrix with the singular vectors of ``matrix`` and singular values near 1.

    Args:
        matrix: float (rows, columns).
        precision: of the arithmetic. bfloat16 is precise enough, and is what None takes on a GPU; a
            processor without instructions for it takes twice as long, so None is that of ``matrix``
            elsewhere.
    """
    if precision is None:
        precision = torch.bfloat16 if matrix.is_cuda else matrix.dtype
    a, b, c = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).to(precision)
    x = x / x.norm().clamp(min=_TINY)
    for _ in range(_ROUNDS):
        square = x @ x.T
        change = torch.addmm(square, square, square, beta=b, alpha=c)
        x = torch.addmm(x, change, x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)
