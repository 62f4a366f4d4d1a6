"""Networks that several capabilities use."""

from .catalog import MODELS, build
from .cnn import cnn
from .mlp import mlp
from .resnet import cifar_resnet, resnet8, resnet18, resnet20, resnet32, resnet50

__all__ = ["MODELS", "build", "cifar_resnet", "cnn", "mlp", "resnet8", "resnet18", "resnet20", "resnet32", "resnet50"]
