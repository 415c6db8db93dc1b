"""What one inversion makes: the IRIs of one network for one loss, seed image and set of targets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """Which IRIs: `loss`, its name; `seed_image`, where they start; `targets`, "test" or "noise"; `epoch`, the
    checkpoint of the network, None for the end of training."""

    loss: str
    seed_image: str
    targets: str = "test"
    epoch: int | None = None

    def key(self, seed: int) -> str:
        """Where the IRIs of the network of this training seed stand in results/iris/<network>.safetensors."""
        prefix = "noise/" if self.targets == "noise" else ""
        prefix += f"epoch{self.epoch}/" if self.epoch is not None else ""
        return f"{prefix}seed{seed}/{self.loss}/{self.seed_image}"


def units(losses: list[str], seed_images: list[str], noise: bool, checkpoints: list[int]) -> list[Unit]:
    """Every loss from the first seed image; by the free loss also the other seed images, noise as targets, and the
    checkpoints along training."""
    first = seed_images[0]
    made = [Unit(loss, first) for loss in losses]
    made += [Unit("free", other) for other in seed_images[1:]]
    made += [Unit("free", first, "noise")] if noise else []
    return made + [Unit("free", first, "test", epoch) for epoch in checkpoints]
