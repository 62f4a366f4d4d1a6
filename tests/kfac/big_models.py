"""Layers of well-known networks, to be made on the meta device: their published parameter counts say they are right."""

from torch import nn


def conv(before, after, kernel, norm=True):
    return nn.Sequential(nn.Conv2d(before, after, kernel, bias=not norm), *([nn.BatchNorm2d(after)] if norm else []))


def bottlenecks(before, inner, count):
    blocks = []
    for number in range(count):
        width = before if number == 0 else 4 * inner
        block = [conv(width, inner, 1), conv(inner, inner, 3), conv(inner, 4 * inner, 1)]
        blocks.append(nn.Sequential(*block, *([conv(width, 4 * inner, 1)] if number == 0 else [])))
    return nn.Sequential(*blocks)


def resnet50(head=True):
    """K. He et al., CVPR 2016."""
    stages, before = [conv(3, 64, 7)], 64
    for inner, count in ((64, 3), (128, 4), (256, 6), (512, 3)):
        stages.append(bottlenecks(before, inner, count))
        before = 4 * inner
    return nn.Sequential(*stages, nn.Linear(2048, 1000) if head else nn.Identity())


def unet():
    """O. Ronneberger et al., MICCAI 2015: one channel in, two classes out."""
    widths, parts, before = (64, 128, 256, 512, 1024), [], 1
    for width in widths:
        parts += [conv(before, width, 3, norm=False), conv(width, width, 3, norm=False)]
        before = width
    for width in reversed(widths[:-1]):
        parts += [nn.ConvTranspose2d(2 * width, width, 2, 2)]
        parts += [conv(2 * width, width, 3, norm=False), conv(width, width, 3, norm=False)]
    return nn.Sequential(*parts, nn.Conv2d(64, 2, 1))


def mask_rcnn():
    """K. He et al., ICCV 2017, ResNet-50 with a feature pyramid, 91 classes; normalisations are frozen."""
    body = resnet50(head=False)
    for module in body.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight, module.bias = None, None
    pyramid = [nn.Conv2d(width, 256, 1) for width in (256, 512, 1024, 2048)]
    pyramid += [nn.Conv2d(256, 256, 3) for _ in range(4)]
    proposals = [nn.Conv2d(256, 256, 3), nn.Conv2d(256, 3, 1), nn.Conv2d(256, 12, 1)]
    boxes = [nn.Linear(256 * 49, 1024), nn.Linear(1024, 1024), nn.Linear(1024, 91), nn.Linear(1024, 364)]
    masks = [nn.Conv2d(256, 256, 3) for _ in range(4)] + [nn.ConvTranspose2d(256, 256, 2, 2), nn.Conv2d(256, 91, 1)]
    return nn.Sequential(body, *pyramid, *proposals, *boxes, *masks)


def bert_large():
    """J. Devlin et al., NAACL 2019, uncased, with its pooler."""
    parts = [nn.Embedding(30522, 1024), nn.Embedding(512, 1024), nn.Embedding(2, 1024), nn.LayerNorm(1024)]
    for _ in range(24):
        parts += [nn.Linear(1024, 1024) for _ in range(4)] + [nn.LayerNorm(1024)]
        parts += [nn.Linear(1024, 4096), nn.Linear(4096, 1024), nn.LayerNorm(1024)]
    return nn.Sequential(*parts, nn.Linear(1024, 1024))


PARAMETERS = {resnet50: 25_557_032, unet: 31_030_658, mask_rcnn: 44_401_393, bert_large: 335_141_888}
