"""One thread, double precision where a test compares bits with algebra, and a dense oracle of K-FAC's definition."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from worlds import Worlds


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Dense:
    """K-FAC by the definition, position by position, with nothing but Python loops, `kron` and `solve`."""

    @staticmethod
    def rows(module, x):
        """List over positions of (N, groups, columns), bias column included."""
        if isinstance(module, nn.Linear):
            rows = [r[:, None] for r in x.reshape(len(x), -1, x.shape[-1]).unbind(1)]
        else:
            one = isinstance(module, nn.Conv1d)
            x = x[:, :, None] if one else x
            kernel, stride, dilation = (
                (1, *side) if one else side for side in (module.kernel_size, module.stride, module.dilation)
            )
            if module.padding == "same":
                totals = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
                sides = [(total // 2, total - total // 2) for total in totals]
            elif module.padding == "valid":
                sides = [(0, 0), (0, 0)]
            else:
                sides = [(p, p) for p in ((0, *module.padding) if one else module.padding)]
            mode = {"zeros": "constant"}.get(module.padding_mode, module.padding_mode)
            x = functional.pad(x, (*sides[1], *sides[0]), mode=mode)
            span = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
            rows = [
                x[:, :, i : i + span[0] : dilation[0], j : j + span[1] : dilation[1]].reshape(len(x), module.groups, -1)
                for i in range(0, x.shape[2] - span[0] + 1, stride[0])
                for j in range(0, x.shape[3] - span[1] + 1, stride[1])
            ]
        if module.bias is not None:
            rows = [torch.cat([row, torch.ones(*row.shape[:2], 1)], 2) for row in rows]
        return rows

    @classmethod
    def factors(cls, module, x, g, sharing="expand"):
        """A (groups, a, a) and G (groups, o, o); `g` is the gradient of the summed loss, in the output's shape."""
        rows = cls.rows(module, x)
        groups = getattr(module, "groups", 1)
        if isinstance(module, nn.Linear):
            gs = [r[:, None] for r in g.reshape(len(g), -1, g.shape[-1]).unbind(1)]
        else:
            gs = [r.reshape(len(g), groups, -1) for r in g.flatten(2).unbind(2)]
        count = len(x)
        if sharing == "reduce":
            rows, gs = [sum(rows) / len(rows)], [sum(gs)]
        left = sum(torch.einsum("nba,nbc->bac", row, row) for row in rows) / count
        right = sum(torch.einsum("nba,nbc->bac", each, each) for each in gs) / (count * len(gs))
        return left, right

    @staticmethod
    def gradient(module):
        weight = module.weight.grad
        grad = weight.reshape(getattr(module, "groups", 1), -1, weight[0].numel()).clone()
        if module.bias is not None:
            grad = torch.cat([grad, module.bias.grad.reshape(len(grad), -1, 1)], 2)
        return grad

    @staticmethod
    def solve(left, right, grad, damping):
        """(G ⊗ A + λ I) vec V = vec ∇, row-major, block by block."""
        return torch.stack(
            [
                torch.linalg.solve(torch.kron(g, a) + damping * torch.eye(len(a) * len(g)), v.flatten()).view_as(v)
                for a, g, v in zip(left, right, grad, strict=True)
            ]
        )


@pytest.fixture
def dense():
    return Dense


@pytest.fixture(scope="session")
def worlds(tmp_path_factory):
    found = Worlds(tmp_path_factory.mktemp("worlds"))
    yield found
    found.close()
