"""MNIST: 70,000 handwritten digits of 28 x 28 pixels."""

import gzip
import struct
import zlib

import numpy as np

from data_catalog.published.form import (
    OFFICIAL,
    RULE,
    Download,
    PublishedDataset,
    Reading,
    TemplateSet,
)
from data_catalog.published.packed import Pack, unpacked
from data_catalog.published.tree import LayoutError, Tree

CLASSES = tuple(map(str, range(10)))
_CVDF = "https://storage.googleapis.com/cvdf-datasets/mnist"
_PYTORCH = "https://ossci-datasets.s3.amazonaws.com/mnist"
_FILES = {  # sha256 of the CVDF copy, md5 that torchvision has, bytes
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        9_912_422,
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "d53e105ee54ea40749a09fcbcd1e9432",
        28_881,
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "9fb629c4189551a2d022fa330f9573f3",
        1_648_877,
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ec29112dd5afa0611ce80d1b7f02629c",
        4_542,
    ),
}


def read(tree: Tree) -> Reading:
    """Images and labels of the four IDX files, packed with gzip or not."""
    return unpacked([_pack(tree, "train")], [_pack(tree, "t10k")], CLASSES)


def _pack(tree: Tree, part: str) -> Pack:
    images, labels = _file(tree, f"{part}-images", 3), _file(tree, f"{part}-labels", 1)
    pixels, values = _idx(tree, images, 3), _idx(tree, labels, 1).astype(np.int64)
    if len(pixels) != len(values):
        raise LayoutError(
            f"{images} has {len(pixels):,} images, and {labels} has {len(values):,} labels"
        )
    if values.size and values.max() >= len(CLASSES):
        raise LayoutError(f"{labels} has label {values.max()}, and there are 10 digits")
    return Pack(images, values, lambda: _idx(tree, images, 3))


def _file(tree: Tree, name: str, dimensions: int) -> str:
    """The file under one of the spellings that copies have, with a dash or a point."""
    ends = [f"{mark}idx{dimensions}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    found = next(filter(None, (tree.find(f"{name}{end}") for end in ends)), None)
    return found or tree.need(f"{name}{ends[1]}")


def _idx(tree: Tree, path: str, dimensions: int) -> np.ndarray:
    """The array of an IDX file of unsigned bytes."""
    content = tree.content(path)
    try:
        content = gzip.decompress(content) if path.endswith(".gz") else content
        magic, *shape = struct.unpack_from(f">{1 + dimensions}I", content)
        if magic != 0x800 + dimensions:
            raise ValueError(f"it begins with {magic:#x}")
        start = 4 * (1 + dimensions)
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    except (ValueError, struct.error, EOFError, OSError, zlib.error) as error:
        raise LayoutError(f"{path} is no IDX file of {dimensions} dimensions: {error}") from error


DATASET = PublishedDataset(
    name="mnist",
    title="MNIST",
    description="Handwritten digits of 28 x 28 pixels.",
    license="CC BY-SA 3.0",
    citation="LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998",
    homepage="http://yann.lecun.com/exdb/mnist/",
    trouble="The authors' page often refuses programs; take one of the copies.",
    template_sets={
        "clip": TemplateSet(
            'a photo of the number: "{}".', (), "Radford et al., ICML 2021; data/prompts.md"
        ),
        "photo": TemplateSet("a photo of a {}.", (), "Radford et al., ICML 2021"),
    },
    split_rule="The official train and test images; a fifth of each class of train is val.",
    counts={
        RULE: {"train": 48_000, "val": 12_000, "test": 10_000},
        OFFICIAL: {"train": 60_000, "test": 10_000},
    },
    reader=read,
    layout="train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k, or their .gz",
    by_hand=f"Fetch the four files from {_CVDF}/, such as {next(iter(_FILES))}, into one folder",
    downloads=(
        *(
            Download(
                url=f"{site}/{name}",
                holds=name.partition("-idx")[0],
                mirror=True,
                sha256=sha256 if site == _CVDF else "",
                md5=md5 if site == _PYTORCH else "",
                size_bytes=size if site == _CVDF else None,
                checked_by=(
                    "tensorflow/datasets, url_checksums/mnist.txt"
                    if site == _CVDF
                    else "torchvision, datasets/mnist.py"
                ),
            )
            for site in (_CVDF, _PYTORCH)
            for name, (sha256, md5, size) in _FILES.items()
        ),
        Download(
            url="hf://datasets/mteb/mnist",
            holds="all images, as Parquet",
            mirror=True,
            revision="cf6afcbae72cc3bb1fc07a9480fe0d8e0b615fcd",
            checked_by="mteb, tasks/classification/eng/mnist_classification.py",
        ),
    ),
    classes=CLASSES,
)
