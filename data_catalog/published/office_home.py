"""OfficeHome: 65 everyday objects as art, clip art, product image and photo."""

from data_catalog.published.folders import by_domain_folder, plain
from data_catalog.published.form import OFFICIAL, PublishedDataset, Reading
from data_catalog.published.names import class_names
from data_catalog.published.templates import photo_sets
from data_catalog.published.tree import LayoutError, Tree

CLASSES = class_names("office_home")
DOMAINS = {"art": 2427, "clipart": 4365, "product": 4439, "real_world": 4357}
_SPELLINGS = {
    "art": ("art", "Art"),
    "clipart": ("clipart", "Clipart"),
    "product": ("product", "Product"),
    "real_world": ("real_world", "Real World", "Real_World", "RealWorld"),
}


def read(tree: Tree) -> Reading:
    """Rows of Dassl's folders, which have train and val, else of the official ones."""
    place = tree.need_folder(*_SPELLINGS["art"])
    split = tree.folder(f"{place}train") == f"{place}train/"
    folders = {name: name for name in _called(tree, f"{place}train/" if split else place)}
    classes = {folder: plain(folder).lower() for folder in folders}
    if tuple(classes.values()) != CLASSES:
        odd = sorted(set(classes.values()) ^ set(CLASSES))
        raise LayoutError(f"the classes below {place} differ from the 65 of OfficeHome: {odd[:3]}")
    if not split:
        rows = by_domain_folder(tree, _SPELLINGS, classes)
        return Reading(rows, OFFICIAL, "to be carved: the official folders have none")
    rows = by_domain_folder(tree, _SPELLINGS, classes, splits={"train": "train", "val": "val"})
    rows.sort(key=lambda row: row.split == "val")
    return Reading(rows, OFFICIAL, "of Dassl's folders train and val")


def _called(tree: Tree, place: str) -> list[str]:
    """Folders of classes in label order: sorted as Dassl does, capitals first."""
    paths = (path[len(place) :] for path in tree.below(place))
    return sorted({path.partition("/")[0] for path in paths if "/" in path})


DATASET = PublishedDataset(
    name="office_home",
    title="Office-Home",
    description="65 objects of office and home as art, clip art, product image and photo.",
    license="not stated; for research, no commercial use",
    citation="Venkateswara et al., Deep Hashing Network, CVPR 2017",
    homepage="https://www.hemanthdv.org/officeHomeDataset.html",
    trouble=(
        "The fourth domain is called Real World, Real_World or real_world, as the copy has it. "
        "Names are lower-cased, as in Dassl; labels follow the folders, and TV comes before Table."
    ),
    template_sets=photo_sets(),
    split_rule=(
        "No official split: 50/20/30 of each class; of Dassl's copy, its val is tested. A domain "
        "that is left out is tested whole, as in Dassl and DomainBed."
    ),
    counts={},
    reader=read,
    layout="Art/, Clipart/, Product/ and Real World/ with 65 folders each, or Dassl's art/train/",
    by_hand=(
        "Fetch OfficeHomeDataset_10072016.zip "
        "(https://drive.google.com/file/d/1uY0pj7oFsjMxRwaD3Sxy0jgel0fsYXLC/view), or Dassl's "
        "office_home_dg.zip "
        "(https://drive.google.com/file/d/1gkbf_KaxoBws-GWT3XIPZ7BnkqbAxIFa/view), "
        "unpack it, and give the folder that has the four domains; or give the copy of the hub, "
        "--path hf://datasets/flwrlabs/office-home, of which no public source pins a commit"
    ),
    classes=CLASSES,
    domains=DOMAINS,
)
