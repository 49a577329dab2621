"""PNG files whose bytes are the same on every machine."""

import struct
import zlib
from typing import Any


def stored_png(pixels: Any) -> bytes:
    """Encodes uint8 pixels, (h, w) grey or (h, w, 3) RGB, as PNG without compression.

    Compressors differ between machines, and with them the bytes, their digest, and the
    splits that follow from it; stored bytes do not.
    """
    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)  # each begins with filter 0
    colour = 2 if pixels.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _stored(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _stored(data: bytes) -> bytes:
    """A zlib stream of blocks that are stored as they are, of at most 65,535 bytes each."""
    blocks = []
    for start in range(0, len(data), 0xFFFF):
        block = data[start : start + 0xFFFF]
        last = start + len(block) == len(data)
        blocks.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    return b"\x78\x01" + b"".join(blocks) + struct.pack(">I", zlib.adler32(data))
