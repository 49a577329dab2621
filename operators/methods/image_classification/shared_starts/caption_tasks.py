"""Tasks of meta-learning on captioned images: learn from one cluster, be asked about another."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from operators.shapes import Float, Int
from operators.tuning import Tuning

ROUNDS = 10  # of k-means: few captions are still on the move then
FEWEST = 4  # captions: two clusters of two


@dataclass(frozen=True)
class CaptionTasks:
    """Draws tasks: n captioned images of one cluster to learn from, n of another one to ask about.

    No caption stands twice in a task, so the others are wrong for an image.

    Dimensions: k captions, c clusters, e most captions of a cluster, i images, t tasks.

    Attributes:
        members: (c, e) captions of each cluster, -1 behind the last.
        cluster: (k,) that of each caption.
        centres: (c, d) means of the unit features of the captions of each.
        rows: (i,) positions of the images, caption by caption.
        first: (k,) where in `rows` those of a caption begin.
        counts: (k,) how many there are.
        captions: n.
    """

    members: Int[Tensor, "c e"]
    cluster: Int[Tensor, "k"]  # noqa: F821
    centres: Float[Tensor, "c d"]
    rows: Int[Tensor, "i"]  # noqa: F821
    first: Int[Tensor, "k"]  # noqa: F821
    counts: Int[Tensor, "k"]  # noqa: F821
    captions: int

    def draw(self, tuning: Tuning, generator: torch.Generator) -> list[Tensor]:
        """Positions of the images of each step of an epoch, task by task; 2n of each task.

        There are as many steps as in an epoch that passes through all images once.

        Args:
            tuning: A step has as many tasks as fill its batch, at least one.
            generator: On the CPU.
        """
        whole, rest = divmod(len(self.rows), tuning.batch_size)
        steps = whole + bool(rest and not (tuning.drop_last and whole))
        tasks = steps * max(1, tuning.batch_size // (2 * self.captions))
        chance = torch.rand(tasks, len(self.members), generator=generator)
        members = self.members[chance.topk(2).indices]  # (t, 2, e)
        chance = torch.rand(members.shape, generator=generator).masked_fill(members < 0, -1.0)
        asked = members.gather(2, chance.topk(self.captions).indices)
        counts = self.counts[asked]
        place = (torch.rand(asked.shape, generator=generator) * counts).long()
        return list(self.rows[self.first[asked] + place].view(steps, -1))

    def nearness(self, labels: Int[Tensor, "t 2 n"]) -> Float[Tensor, "t"]:  # noqa: F821
        """How near the two clusters of each task are, from 0 to 1, by the cosine of their centres.

        Args:
            labels: The captions of each task, on any device.
        """
        centres = self.centres.to(labels.device)[self.cluster.to(labels.device)[labels[:, :, 0]]]
        return (1 + F.cosine_similarity(centres[:, 0], centres[:, 1], dim=-1)) / 2


def caption_tasks(
    texts: Float[Tensor, "k d"],
    labels: Int[Tensor, "i"],  # noqa: F821
    captions: int,
    generator: torch.Generator,
) -> CaptionTasks:
    """Clusters the captions that images have.

    Args:
        texts: Unit-norm features of all captions.
        labels: The caption of each image.
        captions: Of a cluster that a task takes, at most; there are as many clusters as have so
            many each, at least two.
        generator: Draws the first centres, on the CPU.

    Raises:
        ValueError: Images have too few different captions for two clusters of two.
    """
    labels, texts = labels.cpu(), texts.detach().cpu()
    counts = torch.bincount(labels, minlength=len(texts))
    present = counts.nonzero().flatten()
    if reason := few_captions(len(present)):
        raise ValueError(reason)
    clusters = max(2, len(present) // captions)
    found = even_clusters(texts[present], clusters, generator)
    parts = [present[found == number] for number in range(clusters)]
    cluster = torch.full((len(texts),), -1)
    cluster[present] = found
    return CaptionTasks(
        members=torch.nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=-1),
        cluster=cluster,
        centres=torch.stack([texts[part].mean(0) for part in parts]),
        rows=labels.argsort(stable=True),
        first=counts.cumsum(0) - counts,
        counts=counts,
        captions=min(captions, len(present) // clusters),
    )


def few_captions(present: int) -> str:
    """Why there are too few different captions for two clusters of two; empty if there are not.

    Args:
        present: Captions that images have.
    """
    if present >= FEWEST:
        return ""
    return (
        f"a start is learned by telling captions apart in clusters, which takes {FEWEST} "
        f"captions or more, and the images have {present}: name a source dataset with more "
        "classes."
    )


def even_clusters(
    points: Float[Tensor, "k d"], clusters: int, generator: torch.Generator
) -> Int[Tensor, "k"]:  # noqa: F821
    """K-means with clusters of k / c points each, or one more.

    Even ones, because one point alone has nothing that it could be told apart from. In each round
    the nearest pairs of a point and a centre are settled first, while the cluster has room.

    Args:
        points: Unit norm.
        clusters: c, at most k.
        generator: Draws the first centres among the points.

    Returns:
        The cluster of each point.
    """
    least, larger = divmod(len(points), clusters)
    centres = points[torch.randperm(len(points), generator=generator)[:clusters]]
    found: list[int] = []
    for _ in range(ROUNDS):
        order = torch.cdist(points, centres).flatten().argsort(stable=True).tolist()
        before, found = found, [-1] * len(points)
        sizes, spare = [0] * clusters, larger
        for pair in order:
            point, cluster = divmod(pair, clusters)
            room = sizes[cluster] < least or (sizes[cluster] == least and spare)
            if found[point] >= 0 or not room:
                continue
            spare -= sizes[cluster] == least
            sizes[cluster] += 1
            found[point] = cluster
        if found == before:
            break
        settled = torch.tensor(found)
        centres = torch.stack([points[settled == number].mean(0) for number in range(clusters)])
    return torch.tensor(found)
