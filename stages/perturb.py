"""Perturb images against every network, show them to all the others, and map the gradients."""

from itertools import product
from pathlib import Path

import pandas as pd
import torch

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.entanglement import perturb
from fourlenses.entanglement.minimum import minimum_entanglement
from fourlenses.nets.zoo import load_network
from fourlenses.params import read_params


def main(data: Path, models: Path, out: Path) -> None:
    """Perturb images against every network, show them to all the others, and map the gradients.

    Args:
        data: folder of the data set's splits
        models: folder of the networks trained with the soft nearest neighbour loss (safetensors)
        out: folder of the perturbed images with what networks take them for (safetensors), and of the tables (CSV)
    """
    params = read_params()
    names, seeds, precision = params.perturb.networks, params.perturb.seeds, params.train.precision
    attacks, radii, steps = params.perturb.attacks, params.perturb.eps, params.perturb.steps
    n, n_gradients = params.perturb.n_images, params.perturb.n_gradients
    decides = {"networks": names, "seeds": seeds, "precision": precision, "attacks": attacks, "eps": radii}
    decides |= {"steps": steps, "n_images": n, "n_gradients": n_gradients}
    inputs = [data / "test.safetensors"] + [models / f"{name}.safetensors" for name in names]
    found = out / "perturbed.safetensors"
    tables = {table: out / f"{table}.csv" for table in ("transfer", "gradients", "embedding")}

    with runtime.stage("perturb", decides=decides, inputs=inputs, outputs=[found, *tables.values()]):
        device = runtime.device()
        test, about = load_tensors(inputs[0])
        pixels, labels = (test[part][:n].to(device) for part in ("x", "y"))
        x = pixels.float() / 255
        targets = perturb.other_classes(labels, len(about["classes"]), runtime.generator(0, "targets"))
        networks = {
            (name, seed): load_network(models / f"{name}.safetensors", seed, device, name)
            for name in names for seed in seeds
        }  # fmt: skip
        kept = {"labels": labels, "targets": targets}
        clean = {state: perturb.predictions(network, pixels) for state, network in networks.items()}
        kept |= {f"clean/{_at(state)}": predicted for state, predicted in clean.items()}
        transfer = []
        made = [(*each, source) for each in product(attacks, radii) for source in networks]
        for attack, eps, source in runtime.progress(made, "attacks"):
            at = f"{attack}/{eps:g}/{_at(source)}"
            stream = runtime.generator(source[1], "perturb", attack, eps, device=device)
            images = perturb.to_bytes(
                perturb.attack(networks[source], x, labels, attack, eps, steps, targets, stream, precision)
            )
            kept[f"{at}/images"] = images
            for target, network in networks.items():
                predicted = perturb.predictions(network, images)
                kept[f"{at}/on/{_at(target)}"] = predicted
                wrong = predicted != labels
                right = (clean[source] == labels) & (clean[target] == labels)
                transfer.append({
                    "attack": attack, "eps": eps, "source": source[0], "source_seed": source[1],
                    "target": target[0], "target_seed": target[1], "n": int(right.sum()),
                    "error": wrong[right].double().mean().item(), "error_all": wrong.double().mean().item(),
                })  # fmt: skip
        gradients, embedded = [], []
        groups = {"true": labels[:n_gradients], "target": targets[:n_gradients]}
        for (name, seed), network in runtime.progress(networks.items(), "gradients"):
            for gradient, classes in (("untargeted", "true"), ("targeted", "target")):
                signs = perturb.sign_gradients(network, x[:n_gradients], groups[classes])
                of = {"network": name, "seed": seed, "gradient": gradient}
                gradients += [of | {"grouping": each} | _clustered(signs, group) for each, group in groups.items()]
                if seed == seeds[0]:
                    parts = *groups.values(), *perturb.embedding(signs).T
                    embedded += [
                        of | dict(zip(("index", "label", "target", "x", "y"), (index, *row), strict=True))
                        for index, row in enumerate(zip(*(part.tolist() for part in parts), strict=True))
                    ]
        save_tensors(found, kept, {"networks": names, "seeds": seeds, "attacks": attacks, "eps": radii})
        for table, rows in zip(tables.values(), (transfer, gradients, embedded), strict=True):
            write_csv(table, pd.DataFrame(rows))


def _at(state: tuple[str, int]) -> str:
    return f"{state[0]}/seed{state[1]}"


def _clustered(signs: torch.Tensor, group: torch.Tensor) -> dict[str, float]:
    """How far the signs of gradients cluster by the classes of a grouping."""
    found = minimum_entanglement(signs, group)
    return {
        "n": found.n, "entanglement": found.value, "se": found.se, "temperature": found.temperature,
        "chance": found.chance, "purity": perturb.purity(signs, group), "chance_purity": perturb.chance_purity(group),
    }  # fmt: skip


if __name__ == "__main__":
    runtime.run(main)
