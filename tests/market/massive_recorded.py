"""The provider's own recorded events as frames of its stream."""

import gzip
import json
from pathlib import Path


def frames_of(path: Path) -> list[str]:
    """The frames of a file: JSON arrays of events, or single events, of which each becomes a frame."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    decoder, position, frames = json.JSONDecoder(), 0, []
    while (position := len(text) - len(text[position:].lstrip())) < len(text):
        value, position = decoder.raw_decode(text, position)
        frames.append(json.dumps(value if isinstance(value, list) else [value]))
    return frames
