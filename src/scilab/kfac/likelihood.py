"""What a model's outputs say about the data, and draws from it: where the Fisher information comes from.

The Fisher matrix is an expectation over targets drawn from the model's *own* prediction (J. Martens & R. Grosse,
"Optimizing Neural Networks with Kronecker-factored Approximate Curvature", ICML 2015, section 2 and 5). All that K-FAC
needs of a draw is the gradient of its negative log-likelihood with respect to the outputs.
"""

from __future__ import annotations

from hashlib import blake2b

import torch

LIKELIHOODS = ("categorical", "gaussian", "bernoulli")


class Likelihood:
    """categorical: logits, classes in `class_dim`; gaussian: means, unit variance; bernoulli: logits.

    The loss of one draw is -log p, summed over the outputs of an example: cross-entropy, half the squared distance,
    binary cross-entropy. A *loss term* is one row of logits (categorical), one example (the others).
    """

    def __init__(self, name: str, class_dim: int | None = None) -> None:
        if name not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}, got {name!r}")
        if class_dim is not None and name != "categorical":
            raise ValueError(f"class_dim is for likelihood='categorical', got it with {name!r}")
        self.name, self.class_dim = name, class_dim

    def _classes_last(self, outputs: torch.Tensor) -> torch.Tensor:
        if outputs.dim() > 2 and self.class_dim is None:
            raise ValueError(
                f"outputs of shape {tuple(outputs.shape)} do not say where their classes are: give class_dim=1 for "
                "(examples, classes, …) as torch's cross_entropy has it, or -1 for (examples, tokens, classes)"
            )
        return outputs if outputs.dim() == 2 else outputs.movedim(self.class_dim, -1)

    def terms(self, outputs: torch.Tensor) -> int:
        """Number of loss terms."""
        if self.name == "categorical":
            return outputs.numel() // self._classes_last(outputs).shape[-1]
        return len(outputs)

    def draw(self, outputs: torch.Tensor, seed: int, first: int = 0) -> torch.Tensor:
        """∂/∂outputs of the summed loss at targets drawn from the model: same shape as `outputs`, float32 or wider.

        Each draw depends on `seed` and the example's global number alone, counted from `first`: any split of a batch
        over ranks gives the same targets.
        """
        outputs = outputs.detach()
        outputs = outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
        if self.name == "categorical":
            logits = self._classes_last(outputs)
            probabilities = logits.softmax(-1)
            uniform = _uniform(logits[..., 0], seed, first)
            labels = (probabilities.cumsum(-1) < uniform[..., None]).sum(-1, keepdim=True)  # inverse of the CDF
            labels.clamp_(max=logits.shape[-1] - 1)
            gradient = probabilities.scatter_add(-1, labels, torch.full_like(labels, -1, dtype=logits.dtype))
            return gradient if outputs.dim() == 2 else gradient.movedim(-1, self.class_dim)
        uniform = _uniform(outputs, seed, first)
        if self.name == "gaussian":
            # Only the covariance of the draws, the identity, enters the Fisher of a Gaussian with known variance; signs
            # have it with the least variance of the estimate (J. Martens et al., "Estimating the Hessian by
            # Back-propagating Curvature", ICML 2012).
            return (uniform < 0.5).to(outputs.dtype).mul_(2).sub_(1)
        probabilities = outputs.sigmoid()
        return probabilities - (uniform < probabilities).to(outputs.dtype)


def _uniform(like: torch.Tensor, seed: int, first: int) -> torch.Tensor:
    """Uniform numbers in [0, 1) for examples from `first` on, float64 unless the device has none.

    Drawn on the CPU, where a generator's stream does not depend on how much of it is asked for.
    """
    each = like[0].numel() if len(like) else 1
    generator = torch.Generator().manual_seed(seed)
    stream = torch.rand((first + len(like)) * each, generator=generator, dtype=torch.float64)
    stream = stream[first * each :].view(like.shape)
    return stream.to(like.device, dtype=torch.float32 if like.device.type == "mps" else None)


def stream(seed: int, *words: object) -> int:
    """A seed of 63 bits for one purpose, independent of all others."""
    text = "/".join(str(word) for word in (seed, *words))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
