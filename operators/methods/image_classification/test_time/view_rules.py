"""What the authors of TPT show of a test image, which others on their code do as well."""

# `augmix=len(set_id) > 1` of the authors' code, which names ImageNet and its variants by a letter.
FINE_GRAINED = (
    "flowers102",
    "dtd",
    "oxford_pets",
    "stanford_cars",
    "ucf101",
    "caltech101",
    "food101",
    "sun397",
    "fgvc_aircraft",
    "eurosat",
)


def published_augmentation(dataset: str) -> str:
    """The augmentation of random views of a dataset; empty for one that they do not know."""
    if dataset.startswith("imagenet"):  # and its variants
        return "crop-bilinear"
    return "augmix" if dataset in FINE_GRAINED else ""
