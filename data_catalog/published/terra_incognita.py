"""TerraIncognita: animals before camera traps at four places, as DomainBed chose them."""

from collections import defaultdict

from data_catalog.published.folders import by_domain_folder, image_paths
from data_catalog.published.form import OFFICIAL, Download, PublishedDataset, Reading, Row
from data_catalog.published.templates import photo_sets
from data_catalog.published.tree import LayoutError, Tree

CLASSES = (
    "bird",
    "bobcat",
    "cat",
    "coyote",
    "dog",
    "empty",
    "opossum",
    "rabbit",
    "raccoon",
    "squirrel",
)
DOMAINS = {"location_38": 9736, "location_43": 3970, "location_46": 5883, "location_100": 4741}
_LABELS = "caltech_images_20210113.json"
_BLOB = "https://lilablobssc.blob.core.windows.net/caltechcameratraps"


def read(tree: Tree) -> Reading:
    """Rows of DomainBed's folders, else of LILA's annotations by the rule that made these."""
    if tree.folder("location_38") is None and tree.find(_LABELS):
        return Reading(_annotated(tree), OFFICIAL, "to be carved: camera traps have none")
    folders = {domain: (domain,) for domain in DOMAINS}
    rows = by_domain_folder(tree, folders, {name: name for name in CLASSES})
    return Reading(rows, OFFICIAL, "to be carved: DomainBed's folders have none")


def _annotated(tree: Tree) -> list[Row]:
    """An image of a place for each of the ten categories that it is annotated with."""
    labels = tree.parsed(tree.need(_LABELS))
    try:
        categories = {each["id"]: each["name"] for each in labels["categories"]}
        named: defaultdict[str, set[str]] = defaultdict(set)
        for each in labels["annotations"]:
            named[each["image_id"]].add(categories[each["category_id"]])
        chosen: list[tuple[str, str, str]] = [
            (f"location_{each['location']}", category, str(each["file_name"]))
            for each in labels["images"]
            for category in named[each["id"]]
        ]
    except (KeyError, TypeError) as error:
        raise LayoutError(f"{_LABELS} has not the form of COCO Camera Traps: {error!r}") from error
    places = {path.rpartition("/")[2]: path for path in image_paths(tree)}
    chosen = sorted(row for row in chosen if row[0] in DOMAINS and row[1] in CLASSES)
    return [
        Row(places.get(name) or name, CLASSES.index(category), category, None, domain)
        for domain, category, name in chosen
    ]


DATASET = PublishedDataset(
    name="terra_incognita",
    title="TerraIncognita",
    description="Photos of camera traps at four places, nine kinds of animal and none.",
    license="CDLA-Permissive-1.0",
    citation="Beery et al., Recognition in Terra Incognita, ECCV 2018; DomainBed's choice of it",
    homepage="https://lila.science/datasets/caltech-camera-traps",
    trouble=(
        "Papers say 24,788 images; DomainBed's script over the annotations of January 2021 gives "
        "24,330, which is what later papers use and what is checked here. One class is empty. "
        "An image with two animals is there once for each."
    ),
    template_sets=photo_sets(),
    split_rule=(
        "No official split: 50/20/30 of each class. A place that is left out is tested whole, as "
        "in DomainBed."
    ),
    counts={},
    reader=read,
    layout=f"location_38/bird/ and so on, or {_LABELS} beside eccv_18_all_images_sm/",
    by_hand=(
        f"Fetch {_BLOB}/eccv_18_all_images_sm.tar.gz and "
        f"{_BLOB}/labels/caltech_camera_traps.json.zip, unpack both into one folder, and give it"
    ),
    downloads=(
        Download(url=f"{_BLOB}/eccv_18_all_images_sm.tar.gz", holds="all images"),
        Download(url=f"{_BLOB}/labels/caltech_camera_traps.json.zip", holds=_LABELS),
    ),
    classes=CLASSES,
    domains=DOMAINS,
)
