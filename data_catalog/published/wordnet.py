"""Where the class folders of ImageNet's variants are, which are called by WordNet id."""

import re
from collections.abc import Callable

from data_catalog.published.tree import Tree

VARIANT_RULE = "All images are test images; the classes are ImageNet's, by WordNet id."
_ID = re.compile(r"n\d{8}/")


def wordnet_place(*folders: str) -> Callable[[Tree], str]:
    """Finds the folder that has the class folders: one of these names, or the place itself."""

    def find(tree: Tree) -> str:
        if any(map(_ID.match, tree.names)):
            return ""
        return tree.need_folder(*folders)

    return find
