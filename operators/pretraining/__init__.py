"""Contrastive pretraining: a small CLIP from images and captions, from scratch.

A step, a schedule and a file format; where the pairs come from is the caller's affair.
"""

from operators.pretraining.recipe import Recipe
from operators.pretraining.tokenizer import train_tokenizer
from operators.pretraining.trainer import PretrainingError, StepResult, Trainer

__all__ = ["PretrainingError", "Recipe", "StepResult", "Trainer", "train_tokenizer"]
