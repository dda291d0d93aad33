"""Texts inside a TFLite file, under names, where readers of any language find them."""

from __future__ import annotations

import struct

import numpy as np

from export.tflite.writer import pack, schema


def with_metadata(content: bytes, name: str, text: str) -> bytes:
    """Return a TFLite file with a text in it; equal arguments give equal bytes.

    Args:
        content: of a file that has no text of this name.
        name: of the metadata entry. Its buffer holds ``text`` as UTF-8.
        text: any.
    """
    model = schema.ModelT.InitFromPackedBuf(content)
    entry = schema.MetadataT(name=name, buffer=len(model.buffers))
    model.buffers.append(schema.BufferT(data=np.frombuffer(text.encode(), np.uint8)))
    model.metadata = [*(model.metadata or ()), entry]
    return pack(model)


def read_metadata(content: bytes, name: str) -> str | None:
    """Return the text of this name in a TFLite file, None where there is none.

    Raises:
        ValueError: the file is torn.
    """
    try:
        model = schema.Model.GetRootAs(content)
        entries = (model.Metadata(index) for index in range(model.MetadataLength()))
        for entry in entries:
            if entry.Name() == name.encode():
                return bytes(model.Buffers(entry.Buffer()).DataAsNumpy()).decode()
    except (struct.error, IndexError, TypeError, ValueError) as error:  # offsets that lead nowhere
        raise ValueError(f"torn ({error})") from error
    return None
