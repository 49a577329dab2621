"""How much faster a whole training step is than that of the published codes.

    python benchmarks/steps.py                                # ViT-B/16, CoOp to PromptSRC: an hour
    python benchmarks/steps.py --methods coop --classes 10    # minutes
    python benchmarks/steps.py --shape small --rounds 5       # seconds

The plain form is what those codes compute in a step, with the same weights and parameters: the
image tower on the batch, all classes at 77 tokens, prompts put in by concatenation, the texts of
CoCoOp one image after the other, the frozen image tower of PromptSRC beside the prompted one. Ours
is the method as the tuning loop calls it, its frozen image features read from a cache. Class names
have as many tokens as those of EuroSAT, Oxford Pets, Caltech-101 and ImageNet at 10, 37, 100 and
more classes. Loss and gradients of the two are compared before anything is timed. Both take turns
in one process, on one thread, in CPU time. `views` weighs in what filling the cache costs, for the
methods that read frozen features.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from class_names import names
from measuring import markdown_table, saved_bytes, seconds, times, times_in, write_json
from torch import Tensor, nn
from torch.nn import functional as F

from operators.backbones import DualEncoder, reference, unit
from operators.backbones.towers.transformer import ACTIVATIONS
from operators.blocks.anchor_loss import logit_gap
from operators.episodes.episode import Batch, Classes
from operators.methods import METHODS
from operators.methods.image_classification.base import ImageClassifier
from operators.methods.image_classification.deep_prompts.ivlp import IVLP
from operators.methods.image_classification.deep_prompts.maple import MaPLe
from operators.methods.image_classification.deep_prompts.promptsrc import PromptSRC, feature_gap
from operators.methods.image_classification.text_prompts.cocoop import CoCoOp
from operators.methods.image_classification.text_prompts.coop import CoOp

PLAIN_LENGTH = 77
SHAPES: dict[str, dict[str, Any]] = {
    "vit-b16": {
        "text": {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8},
        "vision": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
        "sizes": {"image_size": 224, "patch_size": 16},
        "projection": 512,
    },
    "small": {
        "text": {"hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 4},
        "vision": {"hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 4},
        "sizes": {"image_size": 64, "patch_size": 8},
        "projection": 192,
    },
    "tiny": {  # for tests
        "text": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2},
        "vision": {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3},
        "sizes": {"image_size": 32, "patch_size": 8},
        "projection": 24,
    },
}
# Published batch sizes; more than four of MaPLe's and PromptSRC's would favour us.
BATCH = {"coop": 32, "cocoop": 1, "maple": 4, "ivlp": 4, "promptsrc": 4}
SMALL_CONTEXT = 4  # CoOp's tokens with the small shape; the published 16 with the other
VIEWS, TRIALS, EPOCHS = 8, 10, 50  # the cache that `views` weighs in


def save_clip(shape: dict[str, Any], folder: Path) -> None:
    """A CLIP with random weights in transformers' format, and mini-clip's tokenizer."""
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel

    from operators.backbones.formats.clip_files import EMBEDDED

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "mini_clip")
    text, vision = shape["text"], shape["vision"] | shape["sizes"]
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=text
        | {
            "intermediate_size": 4 * text["hidden_size"],
            "max_position_embeddings": PLAIN_LENGTH,
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config=vision | {"intermediate_size": 4 * vision["hidden_size"]},
        projection_dim=shape["projection"],
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.model_max_length = PLAIN_LENGTH
    tokenizer.save_pretrained(folder)


class PlainTower(nn.Module):
    """A transformer as OpenAI's code has it: `nn.MultiheadAttention`, activations as written."""

    def __init__(self, layers: Any, heads: int, activation: str, *, causal: bool) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.causal = causal
        self.blocks = nn.ModuleList()
        for layer in layers:
            own = layer.self_attn
            attention = nn.MultiheadAttention(own.out_proj.in_features, heads)
            parts = (own.q_proj, own.k_proj, own.v_proj)
            with torch.no_grad():
                attention.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
                attention.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
            attention.out_proj = own.out_proj
            fc1, fc2 = layer.mlp.fc1, layer.mlp.fc2
            norms = layer.layer_norm1, layer.layer_norm2
            self.blocks.append(nn.ModuleList([norms[0], attention, norms[1], fc1, fc2]))

    def forward(self, x: Tensor, deep: Tensor | None = None, start: int = 0) -> Tensor:
        """(b, n, w) to the same; `deep` (J - 1, m, w) replaces m tokens from `start` on."""
        b, n, _ = x.shape
        mask = torch.full((n, n), float("-inf")).triu(1) if self.causal else None
        x = x.permute(1, 0, 2)
        for index, block in enumerate(self.blocks):
            norm1, attention, norm2, fc1, fc2 = block  # pyright: ignore[reportGeneralTypeIssues]
            if deep is not None and 1 <= index <= len(deep):
                inserted = deep[index - 1][:, None].expand(-1, b, -1)
                x = torch.cat([x[:start], inserted, x[start + len(inserted) :]])
            states = norm1(x)
            x = x + attention(states, states, states, need_weights=False, attn_mask=mask)[0]
            x = x + fc2(self.activation(fc1(norm2(x))))
        return x.permute(1, 0, 2)


class PlainClip(nn.Module):
    """Both towers of a CLIP, in plain arithmetic."""

    def __init__(self, folder: Path) -> None:
        from transformers import CLIPModel

        super().__init__()
        model: Any = CLIPModel.from_pretrained(folder, dtype=torch.float32)
        self.model = model
        text, vision = model.config.text_config, model.config.vision_config
        self.texts = PlainTower(
            model.text_model.encoder.layers,
            text.num_attention_heads,
            text.hidden_act,
            causal=True,
        )
        self.vision = PlainTower(
            model.vision_model.encoder.layers,
            vision.num_attention_heads,
            vision.hidden_act,
            causal=False,
        )
        self.requires_grad_(False)

    def encode_texts(self, method: Any, context: Tensor, deep: Tensor | None = None) -> Tensor:
        """Class features of prompts with `context` (m, w) after the start token, at 77 tokens."""
        given = method.prompt.layout.embeddings
        x = torch.cat(
            [given[:, :1], context.expand(len(given), -1, -1), given[:, 1 + len(context) :]], 1
        )
        end_token = self.model.text_model.embeddings.token_embedding.weight[-1]
        x = torch.cat([x, end_token.expand(len(x), PLAIN_LENGTH - x.shape[1], -1)], dim=1)
        x = x + self.model.text_model.embeddings.position_embedding.weight
        x = self.texts(x, deep, 1)
        x = self.model.text_model.final_layer_norm(x)
        rows = torch.arange(len(x), device=x.device)
        return self.model.text_projection(x[rows, method.prompt.layout.end])

    def encode_images(
        self, pixels: Tensor, prompts: Tensor | None = None, deep: Tensor | None = None
    ) -> Tensor:
        """Image features; `prompts` (m, v) follow the patches."""
        vision = self.model.vision_model
        x = vision.embeddings(pixels)
        if prompts is not None:
            x = torch.cat([x, prompts.expand(len(x), -1, -1)], dim=1)
        start = x.shape[1] - (0 if prompts is None else len(prompts))
        x = self.vision(vision.pre_layrnorm(x), deep, start)
        return self.model.visual_projection(vision.post_layernorm(x[:, 0]))

    @torch.no_grad()
    def frozen_images(self, pixels: Tensor) -> Tensor:
        """Unit-norm features without prompts."""
        return unit(self.encode_images(pixels))


def plain_loss(plain: PlainClip, method: ImageClassifier, batch: Batch) -> Tensor:
    """The loss of a published code's step, with the parameters of `method`."""
    scale, pixels, labels = method.backbone.logit_scale, batch.pixels, batch.labels
    if isinstance(method, CoOp):
        images = plain.frozen_images(pixels)
        return F.cross_entropy(
            scale * images @ unit(plain.encode_texts(method, method.prompt.context[0])).T, labels
        )
    if isinstance(method, CoCoOp):
        images = plain.frozen_images(pixels)
        contexts = method.prompt.contexts(images)
        rows = [
            scale * image @ unit(plain.encode_texts(method, context)).T
            for image, context in zip(images, contexts, strict=True)
        ]
        return F.cross_entropy(torch.stack(rows), labels)
    assert isinstance(method, MaPLe | IVLP | PromptSRC)
    visual = method.prompt.image
    texts = unit(plain.encode_texts(method, method.prompt.text[0], method.prompt.text[1:]))
    images = unit(plain.encode_images(pixels, visual[0], visual[1:]))
    logits = scale * images @ texts.T
    loss = F.cross_entropy(logits, labels)
    if isinstance(method, PromptSRC):
        frozen = plain.frozen_images(pixels)
        loss = loss + method.text_weight * feature_gap(texts, method.frozen_texts)
        loss = loss + method.image_weight * feature_gap(images, frozen)
        held = scale * frozen @ method.frozen_texts.T
        loss = loss + method.logit_weight * logit_gap(logits, held)
    return loss


class Drawn:
    """Random images, whose features are kept.

    Attributes:
        features_read: Whether a step has asked for them: what it never reads, nobody encodes.
    """

    def __init__(self, backbone: DualEncoder, count: int, side: int) -> None:
        self.features_read = False
        self.all_pixels = torch.randn(count, 3, side, side).to(backbone.device)
        with torch.no_grad():
            self.all_features = backbone.encode_images(self.all_pixels)

    def features(self, rows: np.ndarray, view: Any = None) -> Tensor:
        """See `ImageSource`."""
        self.features_read = True
        return self.all_features[rows]

    def pixels(self, rows: np.ndarray, view: Any = None) -> Tensor:
        """See `ImageSource`."""
        return self.all_pixels[rows]


class Forms(NamedTuple):
    """Both forms of a step.

    Attributes:
        forms: By name.
        weights: Where the frozen weights lie in memory.
        reads_features: Whether ours reads frozen image features.
    """

    forms: dict[str, Callable[[], None]]
    weights: set[int]
    reads_features: bool


class Started(NamedTuple):
    """A method as a trial begins with it, and the images of a step."""

    method: ImageClassifier
    batch: Batch
    images: Drawn


def started(name: str, shape: str, backbone: DualEncoder, classes: int, seed: int = 0) -> Started:
    """Begins a trial of a method on random images."""
    settings: dict[str, Any] = {}
    if (name, shape) == ("coop", "small"):
        settings["n_context"] = SMALL_CONTEXT
    generator = torch.Generator().manual_seed(seed)
    # One template for PromptSRC's frozen texts: they are made once a trial in both forms.
    templates = ("a photo of a {}.",)
    known = Classes(names(classes), templates, templates)
    if name == "promptsrc":
        settings["frozen_templates"] = "card"
    kind: type = METHODS[name]
    method: ImageClassifier = kind(backbone, known, generator=generator, **settings)
    size, side = BATCH[name], SHAPES[shape]["sizes"]["image_size"]
    labels = (torch.arange(size) % classes).to(backbone.device)
    images = Drawn(backbone, size, side)
    return Started(method, Batch(images, np.arange(size), labels), images)


def forms_of(name: str, shape: str, backbone: DualEncoder, plain: PlainClip, classes: int) -> Forms:
    """Both forms of one step of a method; refuses where loss or gradients differ."""
    method, batch, images = started(name, shape, backbone, classes)

    def step(loss: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            method.zero_grad(set_to_none=True)
            loss().backward()

        return run

    forms = {
        "plain": step(lambda: plain_loss(plain, method, batch)),
        "ours": step(lambda: method.loss(batch)),
    }
    found = {}
    for key, form in forms.items():
        form()
        found[key] = [p.grad.clone() for p in method.parameters() if p.grad is not None]
    for ours, theirs in zip(found["ours"], found["plain"], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-3 * float(theirs.abs().max()))
    with torch.no_grad():
        torch.testing.assert_close(
            method.loss(batch), plain_loss(plain, method, batch), rtol=1e-4, atol=1e-4
        )
    modules = [*backbone.modules(), plain]
    frozen = [x for m in modules for x in (*m.parameters(), *m.buffers())]
    weights = {x.untyped_storage().data_ptr() for x in frozen}
    return Forms(forms, weights, images.features_read)


def encode_seconds(backbone: DualEncoder, side: int, rounds: int) -> float:
    """CPU seconds of one image through our frozen tower."""
    pixels = torch.randn(8, 3, side, side)

    def encode() -> None:
        with torch.no_grad():
            backbone.encode_images(pixels)

    encode()
    return statistics.median(t["e"] for t in seconds({"e": encode}, rounds)) / len(pixels)


def compare(
    name: str,
    shape: str,
    backbone: DualEncoder,
    plain: PlainClip,
    classes: int,
    rounds: int,
    image: float,
) -> dict[str, Any]:
    """One row of the table; `image` is what encoding one takes."""
    forms, weights, reads = forms_of(name, shape, backbone, plain, classes)
    saved = {key: saved_bytes(form, weights) for key, form in forms.items()}
    times = seconds(forms, rounds)
    ratios = [t["plain"] / t["ours"] for t in times]
    cpu = {key: statistics.median(t[key] for t in times) for key in forms}
    encoding = BATCH[name] * image if reads else 0.0  # of the batch of one step
    cached = EPOCHS * TRIALS
    return {
        "method": name,
        "classes": classes,
        "batch": BATCH[name],
        "cpu_seconds": cpu,
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "saved_bytes": saved,
        "saved_ratio": saved["plain"] / saved["ours"],
        "views": {
            f"bank:{VIEWS}, {TRIALS} trials": cpu["plain"]
            / (cpu["ours"] + encoding * VIEWS / cached),
            "fresh": cpu["plain"] / (cpu["ours"] + encoding),
        },
    }


def line(row: dict[str, Any]) -> str:
    """A row as a person reads it."""
    low, high = row["ratio_range"]
    bank, fresh = row["views"].values()
    cpu = row["cpu_seconds"]
    return (
        f"{row['method']:<10} {row['classes']:>7} {cpu['plain']:>9.3f} {cpu['ours']:>8.3f} "
        f"{row['ratio']:>7.1f}x [{low:.1f}-{high:.1f}]  {bank:>7.1f}x {fresh:>7.1f}x "
        f"{row['saved_ratio']:>7.1f}x"
    )


def markdown(report: dict[str, Any]) -> str:
    """A report as a table of docs/benchmarks.md."""
    heads = {"Method": "<", "Classes": ">", "CPU time [range]": "<", "With views": ">"}
    heads |= {"Fresh": ">", "Saved activations": ">"}
    rows = [
        (
            row["method"],
            f"{row['classes']:,}",
            times_in(row["ratio"], row["ratio_range"]),
            *(times(ratio) for ratio in row["views"].values()),
            times(row["saved_ratio"]),
        )
        for row in report["rows"]
    ]
    return markdown_table(heads, rows)


def main() -> None:
    """Measures, prints the table, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="vit-b16")
    parser.add_argument("--methods", nargs="+", choices=BATCH, default=list(BATCH))
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 37, 100])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="PATH", help="a file, or - for standard output")
    given = parser.parse_args()
    torch.set_num_threads(1)
    shape = SHAPES[given.shape]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "clip"
        save_clip(shape, folder)
        which = reference(str(folder))
        backbone, plain = which.load(which.describe()), PlainClip(folder)
    image = encode_seconds(backbone, shape["sizes"]["image_size"], given.rounds)
    if given.json != "-":
        print(f"one image through the frozen tower: {image:.3f} s")
        print("method     classes     plain     ours   ratio [range]    with views  fresh   saved")
    for name in given.methods:
        for classes in given.classes:
            rows.append(compare(name, given.shape, backbone, plain, classes, given.rounds, image))
            if given.json != "-":
                print(line(rows[-1]), flush=True)
    report = {"benchmark": "steps", "shape": given.shape, "encode_seconds": image, "rows": rows}
    write_json(report, given.json)


if __name__ == "__main__":
    main()
