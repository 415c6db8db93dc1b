"""The published robust checkpoints of the `robustness` authors: where they are, what they hold, which digest is known.

The ImageNet files of Salman et al. 2020 (arXiv:2007.08489) are stored with their SHA-256 in public view. For the files
of the robustness README (Engstrom et al. 2019) no digest was ever published, so `convert` asks the user for one.
"""

from typing import NamedTuple

TRANSFER = "https://huggingface.co/madrylab/robust-imagenet-models/resolve/main"
README = "https://www.dropbox.com/s"


class Checkpoint(NamedTuple):
    """Architecture (a name for `build`), classes, threat model, its budget (L2, or Linf in 1/255), address, digest."""

    architecture: str
    n_classes: int
    norm: str
    eps: float
    url: str
    sha256: str | None


def transfer(name: str, architecture: str, eps: str, sha256: str, norm: str = "l2") -> tuple[str, Checkpoint]:
    file = f"{name}_{norm}_eps{eps}"
    return f"imagenet-{file}", Checkpoint(f"imagenet-{architecture}", 1000, norm, float(eps), f"{TRANSFER}/{file}.ckpt",
                                          sha256)


def readme(name: str, folder: str, norm: str, eps: float) -> tuple[str, Checkpoint]:
    architecture, classes = ("robustness-resnet50", 10) if name.startswith("cifar") else ("imagenet-resnet50", 1000)
    return f"robustness-{name}", Checkpoint(architecture, classes, norm, eps, f"{README}/{folder}/{name}.pt?dl=1", None)


CHECKPOINTS: dict[str, Checkpoint] = dict([
    readme("cifar_nat", "yhpp4yws7sgi6lj", "l2", 0.0),
    readme("cifar_l2_0_25", "2qsp7pt6t7uo71w", "l2", 0.25),
    readme("cifar_l2_0_5", "1zazwjfzee7c8i4", "l2", 0.5),
    readme("cifar_l2_1_0", "s2x7thisiqxz095", "l2", 1.0),
    readme("cifar_linf_8", "c9qlt1lbdnu9tlo", "linf", 8.0),
    readme("imagenet_l2_3_0", "knf4uimlqsi1yz8", "l2", 3.0),
    readme("imagenet_linf_4", "axfuary2w1cnyrg", "linf", 4.0),
    readme("imagenet_linf_8", "yxn15a9zklz3s8q", "linf", 8.0),
    transfer("resnet18", "resnet18", "0", "d762c58693a2ecaf93160060bb2c32493598540a08852fb3068e95e88f032623"),
    transfer("resnet18", "resnet18", "0.01", "629a82377947785e5481eeaf4e22e3ca59a2eedeb4e385730ee2392b2678407d"),
    transfer("resnet18", "resnet18", "0.05", "00912b1aa6d60cf7536b52762ed702e0b9cae822187200f42fe4f6a678771bed"),
    transfer("resnet18", "resnet18", "0.1", "2477188559680d096a4eccf5bc7610317cab4b46a97094072d38a29a11bfa8fc"),
    transfer("resnet18", "resnet18", "0.25", "2bed566c554755a0f6f82ddbe83c707d259801308f966e787bcd287f969c7911"),
    transfer("resnet18", "resnet18", "0.5", "69a10462280f266ab855547fde0649ac909f06174ed8df83b8bf2ea0f6fc8150"),
    transfer("resnet18", "resnet18", "1", "92e6c37af550167c7c49c77ad31aad027de4e1f47fbef57546a48ef43626ebcf"),
    transfer("resnet18", "resnet18", "3", "b4315784a1a10257b05906aee94d6884678f7b77412d10100d7c05daa959eab0"),
    transfer("resnet18", "resnet18", "5", "d3ef126afdf9144a22020988dc46f552a0c39347e954c34359a3cb6bf83df186"),
    transfer("resnet18", "resnet18", "0.5", "48d5e933d4ec99b390a0b7c628a4303343f9517a46245cbd7d2f2c034cbd93ee", "linf"),
    transfer("resnet18", "resnet18", "1.0", "b49800111d38197deefb0c236055fbdd9d91a0607e55d6cc0bce15504adc9582", "linf"),
    transfer("resnet18", "resnet18", "2.0", "bf2611291cc5f792c7f8f17ff6f841f9a0ede32dbe575cbd5bc57233139ae8bd", "linf"),
    transfer("resnet18", "resnet18", "4.0", "6f8ccef1ae4958c381617081e9e0fb5f50e7cccd4965192d1caa452fd6c5cd1e", "linf"),
    transfer("resnet50", "resnet50", "0", "72d4a99582db5d7fa86c3fd2a089f0bfd6a10f69d635bca51f6ad72ac6b458f0"),
    transfer("resnet50", "resnet50", "0.01", "53d7a7c09d2733b113e255ac9fc578091f44adb8d00eee274c0e71dd1f4dc41e"),
    transfer("resnet50", "resnet50", "0.03", "e375df3bf07bf1360c04b0aff5cc19bb215e850b1af713327c87cf0353a5598f"),
    transfer("resnet50", "resnet50", "0.05", "e09d8763fcf825542f07389a1904adf15930451b8661a0de209c3bc39828c2ea"),
    transfer("resnet50", "resnet50", "0.1", "3298f8cf689e514d096df883ab491a11ee32c3b8d456d674add29d7b50721a43"),
    transfer("resnet50", "resnet50", "0.5", "a5fc6fcc54946b73af7bd74289b0003cc9d2744fa0ff55c1a3d9fb2bce8fbd30"),
    transfer("resnet50", "resnet50", "1", "09f5273a568830ae23caf9162a06f4831a920293e0da1801aa182289052dcf90"),
    transfer("resnet50", "resnet50", "3", "380b14e6f9750bffa1447cf7017f65da4dc5ce71a3dd112f107515dcf7b14d9d"),
    transfer("resnet50", "resnet50", "5", "c50db4bbd9a61bc0e0a33290e1f07a79080e16489aa5ada869efc88306f497be"),
    transfer("resnet50", "resnet50", "0.5", "9612d8096ef5378b4a32746072f72fedcb02c7ff4b747bc7163274f7ec2f0fd8", "linf"),
    transfer("resnet50", "resnet50", "2.0", "59f28de783a049cb4d91ba1c0a09c314db2cc4bb1e859566e023f842b02772ac", "linf"),
    transfer("resnet50", "resnet50", "4.0", "9e62216975c111b8081481533b6142dec34be69abe5d90b54d7f860015c263db", "linf"),
    transfer("resnet50", "resnet50", "8.0", "b907957f8e3ce209816813d8811c682e965a1b0f48455def828d35a4cc2953dc", "linf"),
    transfer("vgg16_bn", "vgg16_bn", "0", "88d661f295ff8e72df66668e98c46bdb26b2385e47c798415f1027b407586449"),
    transfer("vgg16_bn", "vgg16_bn", "3", "651a1edc842f484112671668dabdc883e85df8ba0e150d5b9866a20f9eb0f33a"),
    transfer("densenet", "densenet161", "0", "eeb85d694d0d7375a76b384c8eaf2281c78400dd79e430e086b57a2caef24475"),
    transfer("densenet", "densenet161", "3", "ecd7c9f6f41784f790b41345b38486b834a2a54648a32a06c940264821609e0a"),
])
