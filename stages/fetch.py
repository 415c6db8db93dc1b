"""Get the images, check them against their digest, and split them."""

from pathlib import Path

import torch

from fourlenses import runtime
from fourlenses.artifacts import save_tensors, write_json
from fourlenses.images import digest_images, fetch_dataset, split
from fourlenses.params import read_params


def main(out: Path = Path("data")) -> None:
    """Get the images, check them against their digest, and split them into train, judges, calibration and test.

    FOURLENSES_MIRROR names a folder with copies of the data sets, FOURLENSES_CACHE the folder where downloads are kept.

    Args:
        out: folder of one safetensors file a split, and of the card
    """
    params = read_params()
    dataset, seed = params.fetch.dataset, params.fetch.seed
    sizes = {
        "train": params.fetch.n_train,
        "judges": params.fetch.n_judges,
        "calibration": params.fetch.n_calibration,
        "test": params.fetch.n_test,
    }
    decides = {"dataset": dataset, "seed": seed, **sizes}
    outputs = [out / f"{name}.safetensors" for name in sizes] + [out / "card.json"]
    with runtime.stage("fetch", decides=decides, outputs=outputs, uses_torch=False):
        loaded = fetch_dataset(dataset, cache=runtime.downloads(), mirror=runtime.mirror(), progress=True)
        samples = split(loaded.parts, sizes, runtime.generator(seed, "fetch", "split"))
        card = {
            "dataset": loaded.name,
            "licence": loaded.licence,
            "homepage": loaded.homepage,
            "source": loaded.source,
            "digest": loaded.digest,
            "classes": list(loaded.classes),
            "splits": {},
        }
        for name, images in samples.items():
            save_tensors(out / f"{name}.safetensors", {"x": images.x, "y": images.y}, {"classes": list(loaded.classes)})
            card["splits"][name] = {
                "n": len(images),
                "shape": list(images.x.shape[1:]),
                "digest": digest_images({name: images}),
                "classes": torch.bincount(images.y, minlength=len(loaded.classes)).tolist(),
            }
        write_json(out / "card.json", card)


if __name__ == "__main__":
    runtime.run(main)
