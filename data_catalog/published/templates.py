"""Template sets that several published datasets have, in the words of those who use them."""

from collections.abc import Mapping

from data_catalog.published.form import TemplateSet

PHOTO = "a photo of a {}."

# Seven of the prompts of CLIP's authors for ImageNet, as `trainers/imagenet_templates.py` of
# CoOp's code selects them and Tip-Adapter's `datasets/imagenet.py` lists them.
SEVEN = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)

_COOP = "Zhou et al., IJCV 2022; CoOp, trainers/zsclip.py"


def coop_template_sets(
    template: str, *, kgcoop: str = "", tcp: str = "", seven_alone: bool = False
) -> Mapping[str, TemplateSet]:
    """The sets of CoOp's code and of the forks that change them, for one of its datasets.

    Args:
        template: The prompt in CoOp's code.
        kgcoop: In KgCoOp's, where it is another.
        tcp: In TCP's, likewise.
        seven_alone: Whether ensembles are the seven without the prompt, and Tip-Adapter's code has
            them too, as on ImageNet.
    """
    ensemble = SEVEN if seven_alone else (*SEVEN, template)
    tip_adapter = SEVEN if seven_alone else ()
    return {
        "coop": TemplateSet(template, (), _COOP),
        "coop-ensemble": TemplateSet(template, ensemble, f"{_COOP}, ZeroshotCLIP2"),
        "kgcoop": TemplateSet(kgcoop or template, (), "Yao et al., CVPR 2023; trainers/kgcoop.py"),
        "tcp": TemplateSet(tcp or template, (), "Yao et al., CVPR 2024; trainers/kgcoop.py, 2024"),
        "tip-adapter": TemplateSet(template, tip_adapter, "Zhang et al., ECCV 2022; datasets/"),
        "clip-lora": TemplateSet(PHOTO, (), "Zanella and Ben Ayed, CVPRW 2024; datasets/"),
    }


def photo_sets() -> Mapping[str, TemplateSet]:
    """The plain prompt, alone and among the seven, for datasets that CoOp's code does not have."""
    return {
        "photo": TemplateSet(PHOTO, (), "Radford et al., ICML 2021"),
        "photo-ensemble": TemplateSet(
            PHOTO, (*SEVEN, PHOTO), "the seven prompts that CoOp's code and Tip-Adapter select"
        ),
    }
