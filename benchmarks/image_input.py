"""How fast images are read, and how far their pixels are from Pillow's.

    python benchmarks/image_input.py [--images 60] [--json FILE]

Each image goes through Pillow and through `operators.images` in turn, on one core. What counts is
the time that this thread computed (`time.thread_time`), the least of some rounds, so neighbours
on the machine matter little. Stages: `decode`, encoded bytes to RGB; `crop`, RGB to the central
square of the tower; `pixels`, both; `batch`, encoded bytes to standardised floats. Pillow's
`batch` is the plain expression `(x.float() / 255 - mean) / std` over the crops.

Sets: drawn pictures with the sizes and grain of photos; drawn pictures of the world that mini-clip
learned from; and real photos, where the folder of SHOTBOARD_DATA or ../shared/data has them.
Differences are in levels of 255, over all values of the crops.

Expect 2.5 times Pillow's rate or more in `batch` for photos that are resized, and at most 2
levels. Decoding gains half as much again, whatever the size: what remains is libjpeg-turbo's own
work, which Pillow does as well. Small PNGs gain nothing, for Pillow decodes them in both.
"""

import argparse
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from data_catalog.world.source import World
from operators.backbones.formats.clip_files import CLIP_MEAN, CLIP_STD
from operators.images import Preprocessing, centre_crop, decode

REAL = ("caltech101", "imagenet_sample1k", "pacs", "trashnet", "tiny_imagenet200")
ROUNDS = 5


class Pictures(NamedTuple):
    """Encoded images that are read for a tower of `side` pixels."""

    name: str
    images: Sequence[bytes]
    side: int


def drawn_photos(count: int) -> list[bytes]:
    """JPEGs of smooth patches with grain, 333 to 640 pixels wide and high."""
    draw = np.random.default_rng(0)
    photos = []
    for _ in range(count):
        height, width = (int(side) for side in draw.integers(333, 641, 2))
        patches = draw.integers(0, 256, (height // 24, width // 24, 3), dtype=np.uint8)
        smooth = Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)
        grain = draw.normal(0, 4, (height, width, 1))
        photos.append(encoded(np.clip(np.asarray(smooth) + grain, 0, 255), "JPEG", quality=90))
    return photos


def encoded(pixels: np.ndarray, kind: str, **options: int) -> bytes:
    """An image file."""
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, kind, **options)
    return file.getvalue()


def pictures(count: int) -> Iterator[Pictures]:
    """What is measured; real photos where they are."""
    yield Pictures("drawn photos", drawn_photos(count), 224)
    world = [encoded(pair.image, "PNG") for pair in World().batch(0, count)]
    yield Pictures("world", world, 48)
    project = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("SHOTBOARD_DATA") or project.parent / "shared" / "data")
    for name in REAL:
        file = folder / name / "data.parquet"
        if file.is_file():
            yield Pictures(name, some_of(file, count), 224)


def some_of(file: Path, count: int) -> list[bytes]:
    """Images at even distances of the first row group of a Parquet file, at most `count`."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        column = parquet.read_row_group(0, columns=["image"])["image"]
    places = np.linspace(0, len(column) - 1, min(count, len(column))).astype(int)
    return [column[int(place)].as_py() for place in places]


def pillow_decode(image: bytes) -> Image.Image:
    """Pillow's way to RGB."""
    return Image.open(io.BytesIO(image)).convert("RGB")


def pillow_crop(image: Image.Image, side: int) -> np.ndarray:
    """CLIP's resize and centre crop by Pillow, (s, s, 3)."""
    width, height = image.size
    if width <= height:
        resized = (side, int(side * height / width))
    else:
        resized = (int(side * width / height), side)
    if resized != image.size:
        image = image.resize(resized, Image.Resampling.BICUBIC)
    left, top = (resized[0] - side) // 2, (resized[1] - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)))


def pillow_batch(images: Sequence[bytes], side: int) -> torch.Tensor:
    """All of it with Pillow and a plain standardisation."""
    crops = np.stack([pillow_crop(pillow_decode(image), side) for image in images])
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return (pixels - mean) / std


def seconds(*calls: Callable[[], Any]) -> list[float]:
    """Least computing time of each call, taken in turn."""
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for place, call in enumerate(calls):
            started = time.thread_time()
            call()
            best[place] = min(best[place], time.thread_time() - started)
    return best


def measure(some: Pictures) -> dict[str, Any]:
    """Rates in images a second, and differences."""
    side = some.side
    stages = {stage: np.zeros(2) for stage in ("decode", "crop", "batch")}
    decoded_alike = 0
    off: list[np.ndarray] = []
    for image in some.images:
        theirs, ours = pillow_decode(image), decode(image)
        decoded_alike += np.array_equal(np.asarray(theirs), ours)
        crop = centre_crop(ours, side, side).transpose(1, 2, 0).astype(np.int16)
        off.append(np.abs(crop - pillow_crop(theirs, side)))
        stages["decode"] += seconds(lambda i=image: pillow_decode(i), lambda i=image: decode(i))
        stages["crop"] += seconds(
            lambda i=theirs: pillow_crop(i, side), lambda i=ours: centre_crop(i, side, side)
        )
    preprocess = Preprocessing(side, side, CLIP_MEAN, CLIP_STD)
    for start in range(0, len(some.images), 32):  # as many as an encoding worker is given
        images = some.images[start : start + 32]
        stages["batch"] += seconds(
            lambda i=images: pillow_batch(i, side), lambda i=images: preprocess(i)
        )
    stages["pixels"] = stages["decode"] + stages["crop"]
    count = len(some.images)
    return {
        "set": some.name,
        "images": count,
        "side": side,
        "bytes": round(sum(len(image) for image in some.images) / count),
        "stages": {
            name: {
                "pillow_per_second": round(count / float(times[0]), 1),
                "ours_per_second": round(count / float(times[1]), 1),
                "ratio": round(float(times[0] / times[1]), 2),
            }
            for name, times in stages.items()
        },
        "decoded_alike": decoded_alike,
        "max_difference": max(int(one.max()) for one in off),
        "mean_difference": round(float(np.mean([one.mean() for one in off])), 5),
        "values_alike": round(float(np.mean([(one == 0).mean() for one in off])), 5),
    }


def main() -> None:
    """Prints a table, and writes it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60, help="of each set, at most")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':18}  KB  " + "".join(f"{s:>26}" for s in ("decode", "crop", "pixels", "batch")))
    print(
        f"{'images/s/core':18}      " + "   Pillow    ours    ratio" * 4 + "   max   mean   alike"
    )
    rows = []
    for some in pictures(options.images):
        row = measure(some)
        rows.append(row)
        cells = [
            f"{cell['pillow_per_second']:9.0f}{cell['ours_per_second']:8.0f}{cell['ratio']:8.2f}x"
            for cell in (row["stages"][name] for name in ("decode", "crop", "pixels", "batch"))
        ]
        print(
            f"{row['set']:18}{row['bytes'] / 1000:4.0f}  {''.join(cells)}"
            f"{row['max_difference']:6}{row['mean_difference']:7.3f}{row['values_alike']:8.2%}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
