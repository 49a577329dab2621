"""Bounds of prompts on the board: what a trial found, beside what test images say."""

import json

from operators.board.filling import add_trials
