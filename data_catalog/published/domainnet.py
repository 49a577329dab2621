"""DomainNet: 345 kinds of object as clip art, infographic, painting, drawing, photo and sketch."""

from collections.abc import Iterator

from data_catalog.published.folders import by_domain_folder, plain
from data_catalog.published.form import OFFICIAL, Download, PublishedDataset, Reading, Row
from data_catalog.published.names import class_names
from data_catalog.published.templates import photo_sets
from data_catalog.published.tree import LayoutError, Tree

CLASSES = class_names("domainnet")
DOMAINS = {
    "clipart": 48_129,
    "infograph": 51_605,
    "painting": 72_266,
    "quickdraw": 172_500,
    "real": 172_947,
    "sketch": 69_128,
}
_SITE = "http://csr.bu.edu/ftp/visda/2019/multi-source"
_CHECKED = "DomainNet loaders in public repositories, such as that of ddg"
_ARCHIVES = {
    "groundtruth/clipart": "cd0d8f2d77a4e181449b78ed62bccf1e",
    "infograph": "720380b86f9e6ab4805bb38b6bd135f8",
    "groundtruth/painting": "1ae32cdb4f98fe7ab5eb0a351768abfd",
    "quickdraw": "bdc1b6f09f277da1a263389efe0c7a66",
    "real": "dcc47055e8935767784b7162e7c7cca6",
    "sketch": "658d8009644040ff7ce30bb2e820850f",
}
_LISTS = {
    "clipart_train": "b4349693a7f9c05c53955725c47ed6cb",
    "infograph_train": "379b50054f4ac2018dca4f89421b92d9",
    "painting_train": "7db0e7ca73ad9982f6e1f7f3ef372c0a",
    "quickdraw_train": "b732ced3939ac8efdd8c0a889dca56cc",
    "real_train": "8ebf02c2075fadd564705f0dc7cd6291",
    "sketch_train": "1233bd18aa9a8a200bf4cecf1c34ef3e",
    "clipart_test": "f5ddbcfd657a3acf9d0f7da10db22565",
    "infograph_test": "779626b50869edffe8ea6941c3755c71",
    "painting_test": "232b35dc53f26d414686ae579e38d9b5",
    "quickdraw_test": "c1a828fdfe216fb109f1c0083a252c6f",
    "real_test": "6098816791c3ebed543c71ffa11b9054",
    "sketch_test": "d8a222e4672cfd585298aa14d02ea441",
}


def read(tree: Tree) -> Reading:
    """Rows of the cleaned lists where they are there, else of DomainBed's folders."""
    if tree.find("clipart_train.txt") is None:
        folders = {name.replace(" ", "_"): name for name in CLASSES}
        rows = by_domain_folder(tree, {domain: (domain,) for domain in DOMAINS}, folders)
        return Reading(rows, OFFICIAL, "to be carved: no list is here")
    rows = [
        row
        for split in ("train", "test")
        for domain in DOMAINS
        for row in _rows(tree, domain, split)
    ]
    return Reading(rows, OFFICIAL, "of the cleaned train and test lists")


def _rows(tree: Tree, domain: str, split: str) -> Iterator[Row]:
    """Rows of a list whose lines are `<domain>/<class>/<file> <label>`."""
    path, images = tree.need(f"{domain}_{split}.txt"), tree.need_folder(domain)
    above = images[: -len(domain) - 1]
    for number, line in enumerate(tree.lines(path), start=1):
        image, _, label = line.rpartition(" ")
        if not image.startswith(f"{domain}/") or not label.isdecimal():
            raise LayoutError(
                f"line {number} of {path} is {line!r}, and no image of {domain} with a label"
            )
        yield Row(f"{above}{image}", int(label), plain(image.split("/")[1]), split, domain)


DATASET = PublishedDataset(
    name="domainnet",
    title="DomainNet (cleaned)",
    description="345 kinds of object as clip art, infographic, painting, drawing, photo, sketch.",
    license="not stated; for research, no commercial use",
    citation="Peng et al., Moment Matching for Multi-Source Domain Adaptation, ICCV 2019",
    homepage="http://ai.bu.edu/M3SDA/",
    trouble=(
        "The archives have duplicates that the cleaned lists leave out; so does DomainBed, by a "
        "list of files to delete. Without the lists, delete these first: counts are checked. "
        "painting_train.txt has no t-shirt, which other domains have."
    ),
    template_sets=photo_sets(),
    split_rule=(
        "The cleaned train and test lists; without them, 50/20/30 of each class. A domain that is "
        "left out is tested whole, as in DomainBed; Dassl tests its test list alone."
    ),
    counts={},
    reader=read,
    layout="clipart/<class>/ and so on, and splits/clipart_train.txt and so on where wanted",
    by_hand=(
        f"Fetch the six archives and twelve lists of the cleaned version from {_SITE}, unpack them "
        "into one folder, the lists into splits/ below it, and give that folder"
    ),
    downloads=(
        *(
            Download(
                url=f"{_SITE}/{name}.zip",
                holds=f"the images of {name.rpartition('/')[2]}",
                md5=md5,
                checked_by=_CHECKED,
            )
            for name, md5 in _ARCHIVES.items()
        ),
        *(
            Download(
                url=f"{_SITE}/domainnet/txt/{name}.txt",
                holds=f"the list {name}",
                into="splits",
                md5=md5,
                checked_by=_CHECKED,
            )
            for name, md5 in _LISTS.items()
        ),
    ),
    classes=CLASSES,
    domains=DOMAINS,
)
