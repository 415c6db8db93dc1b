"""The zoo on disk: every seed of a trained network in one safetensors file."""

from pathlib import Path

import torch
from torch import nn

from fourlenses.artifacts import load_tensors
from fourlenses.errors import UserError
from fourlenses.nets import Network, build


def load_network(
    path: Path, seed: int, device: torch.device, name: str | None = None, epoch: int | None = None
) -> Network:
    """A trained network in evaluation mode, checked against the architecture that its manifest gives, and its `name`.

    `epoch` is that of a checkpoint on the way, None for the end of training.
    Raises UserError if the file is torn, is another network's, has no such seed, holds another architecture's tensors,
    or if the network's accuracy is below the floor of its study: nothing is concluded from one that did not learn.
    """
    tensors, manifest = load_tensors(path, f"seed{seed}/" if epoch is None else f"epoch{epoch}/seed{seed}/")
    if name is not None and manifest.get("name") != name:
        given = f"{path} holds {manifest.get('name', 'no trained network')}"
        raise UserError(given, name, f"delete {path} and run `dvc repro`")
    if not tensors:
        known = ", ".join(manifest["accuracy"])
        given = f"{path} has no seed {seed}" + (f" at epoch {epoch}" if epoch else "")
        raise UserError(given, f"one of {known}", "add it to params.yaml and run `dvc repro`")
    accuracy = manifest["accuracy"][str(seed)]
    for kind in ("clean", "robust"):
        value, floor = accuracy[kind], accuracy[f"floor_{kind}"]
        if value < floor:
            given = f"{path}: {kind} accuracy of seed {seed} is {value:.3f}"
            raise UserError(given, f"at least {floor:.3f}", "train it longer, or lower the floor in params.yaml")
    network = build(**manifest["network"], generator=torch.Generator())
    load_state(network, tensors, str(path))
    return network.to(device).to(memory_format=torch.channels_last).eval()


def load_trunks(path: Path, device: torch.device) -> dict[str, Network]:
    """The networks that judges and regularizers look through, by name, in evaluation mode."""
    tensors, manifest = load_tensors(path)
    trunks = {}
    for name, arguments in manifest["networks"].items():
        trunks[name] = build(**arguments, generator=torch.Generator())
        own = {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
        load_state(trunks[name], own, f"{path} ({name})")
        trunks[name].to(device).to(memory_format=torch.channels_last).eval()
    return trunks


def load_state(network: nn.Module, tensors: dict[str, torch.Tensor], name: str) -> None:
    """Load tensors whose names and shapes must all be the network's; raises UserError naming the first to differ."""
    expected = network.state_dict()
    for key in sorted(expected.keys() | tensors.keys()):
        ours = list(expected[key].shape) if key in expected else "no such tensor"
        theirs = list(tensors[key].shape) if key in tensors else "no such tensor"
        if ours != theirs:
            given = f"{name} holds another architecture ({key}: {theirs})"
            raise UserError(given, f"{key}: {ours}", "give the checkpoint of this architecture")
    network.load_state_dict(tensors)
