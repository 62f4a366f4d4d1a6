"""Networks against published parameter counts and second implementations."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from scilab.models import MODELS, build, cifar_resnet, mlp


def _count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("model", "count"),
    [
        # published: 0.27 M and 0.46 M (He et al. 2016, table 6); exact numbers widely reported for option A and B
        (build("resnet20", (3, 32, 32), 10), 269_722),
        (cifar_resnet(20, (3, 32, 32), 10, option="B"), 272_474),
        (build("resnet32", (3, 32, 32), 10), 464_154),
        (cifar_resnet(32, (3, 32, 32), 10, option="B"), 466_906),
        # 11,689,512: torchvision's documented resnet18; 11,173,962: the usual CIFAR-10 variant
        (build("resnet18", (3, 224, 224), 1000), 11_689_512),
        (build("resnet18", (3, 32, 32), 10), 11_173_962),
        (build("resnet50", (3, 224, 224), 1000), 25_557_032),  # torchvision's documented resnet50
        # by hand: 64·32 + 32 + 32·10 + 10
        (build("mlp", (1, 8, 8), 10), 2_410),
        # by hand: 16·9 + 16 + 32·16·9 + 32 + 32·7·7·10 + 10
        (build("cnn", (1, 28, 28), 10), 160 + 4_640 + 15_690),
        # by hand: stem 3·16·9 + 32; blocks of 16, 32, 64: 2·(9·16² + 32), 9·16·32 + 9·32² + 128, …; linear 650
        (build("resnet8", (3, 32, 32), 10), 464 + 4_672 + 13_952 + 55_552 + 650),
    ],
)
def test_parameter_counts(model, count):
    assert _count(model) == count


def test_mlp_computes_the_formula():
    model, x = mlp((3, 4, 5), 7, hidden=(11, 6)), torch.randn(9, 3, 4, 5)
    h, weights = x.reshape(9, 60), dict(model.named_parameters())
    for layer in (1, 3):
        h = (h @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]).clamp(min=0)
    assert torch.allclose(model(x), h @ weights["5.weight"].T + weights["5.bias"], atol=1e-6)


@pytest.mark.parametrize("option", ["A", "B"])
def test_resnet8_computes_the_paper(option):
    """Written out by hand from section 4.2, in evaluation mode with statistics that are not 0 and 1."""
    torch.manual_seed(0)
    model = cifar_resnet(8, (1, 8, 8), 5, option).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                tensor.uniform_(0.5, 1.5)
    state = model.state_dict()

    def convolve(x, name, stride=1, padding=1):
        return functional.conv2d(x, state[f"{name}.weight"], stride=stride, padding=padding)

    def normalise(x, name):
        mean, var, gamma, beta = (
            state[f"{name}.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + 1e-5) * gamma + beta

    x = images = torch.randn(2, 1, 8, 8)
    x = torch.relu(normalise(convolve(x, "0"), "1"))
    for block, stride in ((3, 1), (4, 2), (5, 2)):
        y = torch.relu(normalise(convolve(x, f"{block}.conv1", stride), f"{block}.bn1"))
        y = normalise(convolve(y, f"{block}.conv2"), f"{block}.bn2")
        if stride == 2 and option == "A":
            short = torch.zeros_like(y)
            quarter = x.shape[1] // 2
            short[:, quarter : quarter + x.shape[1]] = x[:, :, ::2, ::2]
        elif stride == 2:
            short = normalise(convolve(x, f"{block}.shortcut.0", 2, padding=0), f"{block}.shortcut.1")
        else:
            short = x
        x = torch.relu(y + short)
    logits = x.mean(dim=(2, 3)) @ state["8.weight"].T + state["8.bias"]
    assert torch.allclose(model(images), logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_weights_follow_from_the_seed_alone(name):
    before = torch.random.get_rng_state()
    first = build(name, (1, 8, 8), 3, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    again, other = build(name, (1, 8, 8), 3, seed=1), build(name, (1, 8, 8), 3, seed=2)
    one, two, three = (torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (first, again, other))
    assert torch.equal(one, two) and not torch.equal(one, three)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 5, 9)])
def test_every_model_takes_every_image_and_learns_from_it(name, shape):
    model = build(name, shape, 4)
    logits = model(torch.rand(2, *shape))
    functional.cross_entropy(logits, torch.tensor([0, 3])).backward()
    assert logits.shape == (2, 4)
    assert all(float(parameter.grad.abs().sum()) > 0 for parameter in model.parameters() if parameter.dim() > 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg", (1, 8, 8), 3), "no model 'vgg'; choose one of mlp, cnn, resnet8"),
        (("mlp", (64,), 3), r"shape must be \(channels, height, width\), all positive, got \(64,\)"),
        (("cnn", (1, 3, 8), 3), "cnn needs images of at least 4×4 pixels, got 3×8"),
        (("mlp", (1, 8, 8), 1), "classes must be at least 2, got 1"),
    ],
)
def test_impossible_models_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(*arguments)


def test_impossible_residual_networks_are_refused():
    with pytest.raises(ValueError, match=r"6n \+ 2 .*got 18"):
        cifar_resnet(18, (3, 32, 32), 10)
    with pytest.raises(ValueError, match="option must be 'A'"):
        cifar_resnet(20, (3, 32, 32), 10, option="C")
