"""Data sets as whole tensors in memory: where they come from, and how they are split."""

from fourlenses.images.dataset import Dataset, Images, Loaded, digest_images
from fourlenses.images.load import fetch_dataset, load_dataset
from fourlenses.images.registry import DATASETS
from fourlenses.images.splits import split

__all__ = [
    "DATASETS",
    "Dataset",
    "Images",
    "Loaded",
    "digest_images",
    "fetch_dataset",
    "load_dataset",
    "split",
]
