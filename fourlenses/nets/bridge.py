"""The one file that touches `robustness` and torchvision: their architectures behind the Network interface.

robustness 1.2.1.post2 imports `torchvision.models.utils`, gone since torchvision 0.13, so that module is supplied here
first. Its own checkpoint loader unpickles with dill; ours is `fourlenses.nets.convert`.
"""

import re
import sys
import types
from collections.abc import Sequence

import torch
from torch import nn

from fourlenses.errors import UserError
from fourlenses.nets.network import Network, Normalize

CIFAR = {
    "robustness-resnet18": "ResNet18",
    "robustness-resnet50": "ResNet50",
    "robustness-vgg16": "VGG16",
    "robustness-densenet121": "DenseNet121",
    "robustness-inceptionv3": "InceptionV3",
}
AUXILIARY_HEADS = {"googlenet", "inception_v3"}
SPATIAL = re.compile(r"layer\d|dense\d|features\.denseblock\d|Mixed_(5d|6e|7c)")
DECLARED: list[torch.library.Library] = []


def import_torchvision() -> types.ModuleType:
    """torchvision with the module that `robustness` and the operators that a CPU-only torch lack.

    The ordinary torchvision wheel beside a CPU-only torch cannot load its compiled operators and fails at the first
    of them; only declared (never called here), its models work.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        DECLARED.append(library)
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision
    missing = types.ModuleType("torchvision.models.utils")
    missing.load_state_dict_from_url = torch.hub.load_state_dict_from_url
    sys.modules.setdefault("torchvision.models.utils", missing)
    return torchvision


def create(architecture: str, n_classes: int) -> tuple[nn.Module, bool]:
    """The original model, and whether its forward takes `fake_relu` and does it."""
    if architecture in CIFAR:
        from robustness import cifar_models

        model = getattr(cifar_models, CIFAR[architecture])(num_classes=n_classes)
        return model, isinstance(model, (cifar_models.ResNet, cifar_models.DenseNet))
    name = architecture.removeprefix("imagenet-")
    torchvision = import_torchvision()
    from robustness import imagenet_models

    if re.match("alexnet|densenet|resnet|resnext|vgg|wide_resnet", name) and hasattr(imagenet_models, name):
        return getattr(imagenet_models, name)(num_classes=n_classes), True
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise UserError(f"architecture {architecture!r}", f"imagenet-<name> with one of {', '.join(known)}",
                        "correct the name")
    options = {"aux_logits": False} if name in AUXILIARY_HEADS else {}
    return torchvision.models.get_model(name, weights=None, num_classes=n_classes, **options), False


def cut_head(model: nn.Module, architecture: str) -> tuple[str, nn.Linear]:
    """The last linear layer and its name; in `model` an identity takes its place, so that model(x) is its input."""
    linear = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise UserError(f"architecture {architecture!r}", "a model that ends in a linear layer",
                        "choose another architecture: this one has no penultimate vector")
    name, head = linear[-1]
    model.set_submodule(name, nn.Identity())
    return name, head


def spatial_stages(model: nn.Module) -> tuple[str, ...]:
    """The layers whose outputs are the spatial maps of each scale: blocks by name, or what each max-pool takes."""
    by_name = [name for name, _ in model.named_modules() if SPATIAL.fullmatch(name)]
    trunk = getattr(model, "features", None)
    if not by_name and isinstance(trunk, nn.Sequential):
        by_name = [f"features.{i - 1}" for i, layer in enumerate(trunk) if isinstance(layer, nn.MaxPool2d)]
    return tuple(f"body.{name}" for name in by_name)


def build(architecture: str, *, widths: Sequence[int] | None, n_classes: int, image_shape: tuple[int, int, int],
          generator: torch.Generator, normalize: Normalize) -> Network:
    """A network of `robustness` (CIFAR, and ImageNet where it has the name) or torchvision, initialised as they do.

    Arguments: as in `fourlenses.nets.build`. The global RNG is restored afterwards.
    Raises: UserError for widths, an unknown name, or images that are not 3 channels (32 x 32 for CIFAR models).
    Source: Engstrom et al. 2019, the robustness library.
    """
    if widths is not None:
        raise UserError(f"widths {list(widths)} for {architecture}", "no widths", "leave them out: they are fixed")
    if image_shape[0] != 3 or architecture in CIFAR and image_shape != (3, 32, 32):
        raise UserError(f"images of shape {image_shape} for {architecture}",
                        "(3, 32, 32)" if architecture in CIFAR else "3 channels",
                        "choose a small network or a data set of that shape")
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model, straight_through = create(architecture, n_classes)
    head_name, head = cut_head(model, architecture)
    network = Network(architecture, normalize, model, head, stages=spatial_stages(model), image_shape=image_shape,
                      straight_through=straight_through, head_name=head_name)
    return network.to(generator.device)
