"""PGD: our attack in bfloat16 against foolbox's and, where it is installed, torchattacks', both in float32."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor

from benchmarks.adversarial_training import settings, train_ours
from benchmarks.side_by_side import RESULTS, interleaved, mnist5k, operations, record, share_of_peak
from fourlenses import runtime
from fourlenses.attacks import cross_entropy, frozen, projected_gradient
from fourlenses.images import Images
from fourlenses.nets import Network
from fourlenses.training import accuracy

EPS = 1.5


def main(repetitions: int = 3, steps: int = 20, epochs: int = 4, batch: int = 250, out: Path = RESULTS) -> None:
    """Time PGD (L2, eps 1.5, random start) on the 1,000 test images of MNIST-5k and an adversarially trained ResNet.

    Every side takes steps of 2.5 eps / steps. Ours keeps the best iterate of each image, the peers the last one.

    Args:
        repetitions: how often each side is timed; the median counts, and the mean robust accuracy
        steps: steps of the attack
        epochs: epochs of adversarial training of the network
        batch: images that are attacked together
        out: table that gets the row (CSV)
    """
    environment = runtime.environment()
    data = mnist5k(runtime.device())
    network, test = train_ours(data["train"], 0, settings(epochs, 128)), data["test"]
    makers = {"ours": ours, "foolbox": foolbox} | ({"torchattacks": torchattacks} if find_spec("torchattacks") else {})
    sides = {name: attack_all(maker(network, steps), test, batch) for name, maker in makers.items()}
    few = Images(test.x[:batch], test.y[:batch])
    for maker in makers.values():
        attack_all(maker(network, 2), few, batch)(0)
    spent, found = interleaved(repetitions, **sides)
    robust = {name: mean(accuracy(network, x, test.y).value for x in examples) for name, examples in found.items()}
    one = few.x.float() / 255
    done = operations(lambda: ours(network, steps)(one, few.y))
    share = share_of_peak(done, batch / len(test) * spent["ours"], one.device)
    rates = {name: len(test) / each for name, each in spent.items()}
    others = "".join(
        f"{name} {rates[name]:.4g} images/s, accuracy left {robust[name]:.4f}; "
        for name in rates if name == "torchattacks"
    )  # fmt: skip
    note = (
        f"ResNet 16-32-64-128, {len(test)} images in batches of {batch}, L2 eps {EPS}, {steps} steps, random start; "
        f"accuracy left {robust['ours']:.4f}, peer {robust['foolbox']:.4f}; "
        f"{others}{share:.0%} of the rate of a large bfloat16 GEMM"
    )
    record("pgd", environment, rates["ours"], rates["foolbox"], "foolbox", "images/s", note, out)


Attack = Callable[[Tensor, Tensor], Tensor]  # images in [0, 1], labels -> adversarial images


def attack_all(attack: Attack, images: Images, batch: int) -> Callable[[int], Tensor]:
    """The attack on all images, a batch after the other."""
    x, y = images.x.float() / 255, images.y
    return lambda _: torch.cat([attack(a, b) for a, b in zip(x.split(batch), y.split(batch), strict=True)])


def ours(network: Network, steps: int) -> Attack:
    """As the accuracies of every study are measured."""

    def attack(x: Tensor, y: Tensor) -> Tensor:
        with frozen(network):
            return projected_gradient(
                cross_entropy(network, y, "bfloat16"), x, norm="l2", eps=EPS, step_size=2.5 * EPS / steps, steps=steps,
                generator=runtime.generator("pgd", device=x.device),
            )  # fmt: skip

    return attack


def foolbox(network: Network, steps: int) -> Attack:
    from foolbox import PyTorchModel
    from foolbox.attacks import L2PGD
    from foolbox.criteria import Misclassification

    model = PyTorchModel(network.eval(), bounds=(0, 1), device=next(network.parameters()).device)
    peer = L2PGD(abs_stepsize=2.5 * EPS / steps, steps=steps, random_start=True)

    def attack(x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(0)
        return peer(model, x, Misclassification(y), epsilons=EPS)[1]

    return attack


def torchattacks(network: Network, steps: int) -> Attack:
    """A peer that no lock of ours can hold, so it is imported where somebody has installed it."""
    made = {"eps": EPS, "alpha": 2.5 * EPS / steps, "steps": steps, "random_start": True}
    peer = import_module("torchattacks").PGDL2(network.eval(), **made)

    def attack(x: Tensor, y: Tensor) -> Tensor:
        torch.manual_seed(0)
        return peer(x, y)

    return attack


if __name__ == "__main__":
    runtime.run(main)
