"""What trials say of their test rows: the columns of `predictions.parquet`."""

from typing import Any

import pyarrow as pa

TOP = 5  # classes that are kept of each row

# The columns that the board's table has; every trial of classification ever made has them.
PREDICTIONS = pa.schema(
    [
        ("split", pa.string()),  # all, base, new, or a target dataset or domain
        ("row_id", pa.int64()),  # row of the ingested dataset that was asked about
        ("label", pa.int32()),  # label of the dataset, also where classes were cut to base or new
        ("predicted", pa.int32()),
        ("confidence", pa.float32()),  # softmax probability of `predicted`
    ]
)

# What calibration, ranks and likelihoods follow from: 34 bytes a row in the file, however many
# classes there are; 1.7 MB for the 50,000 test rows of ImageNet.
CLASSIFICATION = pa.schema(
    [
        *PREDICTIONS,
        ("log_probability", pa.float32()),  # of `label`, natural logarithm of its softmax
        ("squared_probability", pa.float32()),  # sum over all classes
        ("top", pa.list_(pa.int32())),  # the most probable labels, best first, `TOP` at most
        ("top_probability", pa.list_(pa.float32())),
    ]
)

# The best seen and the best unseen pair of each row, from which the curve over biases follows.
# Pairs that the dataset has no class for, as in the open world, are numbered behind its classes:
# its number of classes + position of the attribute x number of objects + position of the object.
COMPOSITIONAL = pa.schema(
    [
        *PREDICTIONS,
        ("seen", pa.int32()),  # 1 where the pair of the row is learned, else 0
        ("seen_predicted", pa.int32()),
        ("seen_score", pa.float32()),  # logit
        ("unseen_predicted", pa.int32()),
        ("unseen_score", pa.float32()),  # logit, with no bias
        ("attribute", pa.int32()),  # positions in the sorted attributes and objects
        ("object", pa.int32()),
        ("predicted_attribute", pa.int32()),
        ("predicted_object", pa.int32()),
        ("threshold", pa.float32()),  # of feasibility; NULL where nothing is left out
    ]
)

# How `pyarrow.parquet` writes them. Numbers are all different, so a dictionary serves the names of
# splits alone; the bytes of floats are sorted by their place, which makes them a third smaller.
PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": ["split"],
    "use_byte_stream_split": True,
}
