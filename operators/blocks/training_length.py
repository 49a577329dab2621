"""How long prompts are tuned in the few-shot runs of CoOp, which others have taken over."""


def coop_epochs(shots: int, dataset: str) -> int:
    """Epochs of CoOp's few-shot runs; on ImageNet 50, whatever the shots.

    Args:
        shots: Labelled examples a class.
        dataset: Its name.

    Source: `COOP.md` of the authors' code.
    """
    if dataset == "imagenet" or shots <= 1:
        return 50
    return 100 if shots <= 4 else 200
