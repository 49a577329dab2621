"""VLCS: five kinds of object in photos of four older datasets, each a domain."""

from data_catalog.published.folders import by_domain_folder
from data_catalog.published.form import OFFICIAL, PublishedDataset, Reading
from data_catalog.published.templates import photo_sets
from data_catalog.published.tree import Tree

CLASSES = ("bird", "car", "chair", "dog", "person")
DOMAINS = {"caltech": 1415, "labelme": 2656, "pascal": 3376, "sun": 3282}
_DASSL = {domain: (domain.upper(),) for domain in DOMAINS}
_DOMAINBED = {
    "caltech": ("Caltech101",),
    "labelme": ("LabelMe",),
    "pascal": ("VOC2007",),
    "sun": ("SUN09",),
}
_SPLITS = {"train": "train", "crossval": "val", "test": "test"}


def read(tree: Tree) -> Reading:
    """Rows of Dassl's folders, which have splits, else of DomainBed's."""
    if tree.folder("CALTECH") is None:
        rows = by_domain_folder(tree, _DOMAINBED, {name: name for name in CLASSES})
        return Reading(rows, OFFICIAL, "to be carved: DomainBed's folders have none")
    numbered = {str(label): name for label, name in enumerate(CLASSES)}
    named = {name: name for name in CLASSES}
    classes = numbered if tree.folder("CALTECH/train/0") else named
    rows = by_domain_folder(tree, _DASSL, classes, splits=_SPLITS)
    rows.sort(key=lambda row: list(_SPLITS.values()).index(row.split or ""))
    return Reading(rows, OFFICIAL, "of the folders train, crossval and test")


DATASET = PublishedDataset(
    name="vlcs",
    title="VLCS",
    description="Five kinds of object in photos of Caltech101, LabelMe, Pascal VOC and SUN09.",
    license="those of the four sources",
    citation="Fang et al., Unbiased Metric Learning, ICCV 2013; Torralba and Efros, CVPR 2011",
    homepage="https://github.com/KaiyangZhou/Dassl.pytorch",
    trouble=(
        "Dassl's copy has each image twice, in full/ and in its split; full/ is not read. Classes "
        "are far from balanced: two in five images show a person. The archives are on Google Drive."
    ),
    template_sets=photo_sets(),
    split_rule=(
        "Dassl's folders train, crossval and test; of DomainBed's copy, which has none, 50/20/30 "
        "of each class. A domain that is left out is tested whole; Dassl tests its folder test."
    ),
    counts={},
    reader=read,
    layout="CALTECH/train/0/ and so on, or DomainBed's Caltech101/bird/ and so on",
    by_hand=(
        "Fetch Dassl's VLCS.zip "
        "(https://drive.google.com/file/d/1r0WL5DDqKfSPp9E3tRENwHaXNs1olLZd/view) "
        "or DomainBed's VLCS.tar.gz "
        "(https://drive.google.com/file/d/1skwblH1_okBwxWxmRsp9_qi15hyPpxg8/view)"
        ", unpack it, and give "
        "the folder that has the four domains"
    ),
    classes=CLASSES,
    domains=DOMAINS,
)
