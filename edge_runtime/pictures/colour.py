"""Colours that files say in numbers, and the ICC profiles that say the same.

Code points: ITU-T H.273 (PNG's cICP, AVIF's nclx); profiles: ICC.1:2010, version 4.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
_PRIMARIES = {  # x and y of white, red, green and blue
    5: (0.3127, 0.329, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (0.3127, 0.329, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (0.3127, 0.329, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    9: (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
}
_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # of sRGB, as of any not in _GAMMAS
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_HDR = {16: "PQ", 18: "HLG"}
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_CLOSE = 0.002


@dataclass(frozen=True)
class Colour:
    """A colour space other than sRGB.

    Attributes:
        primaries: x and y of white, red, green and blue.
        gamma: Exponent from pixels to light; None for the curve of sRGB.
        codes: Of primaries and transfer, where the file says it so; others are 0 to 255.
    """

    primaries: tuple[float, ...]
    gamma: float | None = None
    codes: tuple[int, int] | None = None

    @property
    def hdr(self) -> str | None:
        """What kind of high dynamic range this is, which no profile can say; or None."""
        return _HDR.get(self.codes[1]) if self.codes else None

    def profile(self, *, grey: bool) -> bytes:
        """Return the ICC profile, for pixels of one channel or of three."""
        x, y = np.array(self.primaries).reshape(4, 2).T
        white, *columns = np.stack([x, y, 1 - x - y], axis=1)
        white, columns = white / y[0], np.array(columns).T
        cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
        adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
        columns = adapted @ (columns * np.linalg.solve(columns, white))
        parameters = _CURVE if self.gamma is None else (self.gamma,)
        curve = struct.pack(">4sIHH", b"para", 0, 3 * (len(parameters) > 1), 0) + _fixed(parameters)
        said = {
            name: _text(text)
            for name, text in ((b"desc", "colours as the original says"), (b"cprt", "-"))
        }
        said |= {b"wtpt": b"XYZ \0\0\0\0" + _fixed(_D50)}
        said |= {b"chad": b"sf32\0\0\0\0" + _fixed(adapted.ravel())}
        if grey:
            said[b"kTRC"] = curve
        else:
            said |= {name + b"TRC": curve for name in (b"r", b"g", b"b")}
            for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
                said[name + b"XYZ"] = b"XYZ \0\0\0\0" + _fixed(column)
        at, table = 128 + 4 + 12 * len(said), struct.pack(">I", len(said))
        for name, content in said.items():
            table += struct.pack(">4sII", name, at, len(content))
            at += len(content)
        head = struct.pack(
            ">I4xI4s4s4s", at, 0x04200000, b"mntr", b"GRAY" if grey else b"RGB ", b"XYZ "
        )
        head += struct.pack(">6H4s28x", 2000, 1, 1, 0, 0, 0, b"acsp") + _fixed(_D50)
        return head.ljust(128, b"\0") + table + b"".join(said.values())


def of_codes(primaries: int, transfer: int) -> Colour | None:
    """Return what two code points of H.273 say; None for sRGB and what looks like it."""
    known = _PRIMARIES.get(primaries, _SRGB)
    colour = Colour(known, _GAMMAS.get(transfer), (primaries, transfer))
    return colour if colour.hdr else _unless_srgb(colour)


def of_png(chunks: Mapping[bytes, bytes]) -> Colour | None:
    """Return what the chunks of a PNG say, the more exact ones first; None for sRGB.

    Raises:
        struct.error: A chunk is too short.
    """
    if b"cICP" in chunks:
        return of_codes(*struct.unpack_from("BB", chunks[b"cICP"]))
    if b"iCCP" in chunks or b"sRGB" in chunks:
        return None
    primaries, gamma = _SRGB, None
    if b"cHRM" in chunks:
        primaries = tuple(each / 100_000 for each in struct.unpack_from(">8I", chunks[b"cHRM"]))
    if b"gAMA" in chunks:
        gamma = 100_000 / (struct.unpack_from(">I", chunks[b"gAMA"])[0] or 45_455)
    return _unless_srgb(Colour(primaries, gamma))


def of_endpoints(endpoints: tuple[int, ...], gamma: int) -> Colour | None:
    """Return what a BMP says: X, Y and Z of red, green and blue, and gamma; None for sRGB."""
    rgb = np.array(endpoints, np.float64).reshape(3, 3)
    sums = rgb.sum(axis=1)
    if gamma <= 0 or (sums <= 0).any():
        return None
    white = rgb.sum(axis=0) / rgb.sum()
    primaries = (*white[:2], *(rgb / sums[:, None])[:, :2].ravel())
    return _unless_srgb(Colour(tuple(map(float, primaries)), gamma / 65536))


def _unless_srgb(colour: Colour) -> Colour | None:
    near = np.abs(np.array(colour.primaries) - _SRGB).max() < _CLOSE
    if near and (colour.gamma is None or abs(colour.gamma - 2.2) < 0.01):
        return None
    x, y = np.array(colour.primaries).reshape(4, 2).T
    # Of hostile or empty numbers no profile can be made.
    area = abs(np.linalg.det(np.stack([x[1:], y[1:], np.ones(3)])))
    sound = y[0] > 0.05 and max(x.max(), y.max()) <= 1 and area > 0.01
    return colour if sound and 0.1 <= (colour.gamma or 1) <= 10 else None


def _fixed(values: object) -> bytes:
    return np.rint(np.asarray(values, np.float64) * 65536).astype(">i4").tobytes()


def _text(text: str) -> bytes:
    content = text.encode("utf-16-be")
    head = struct.pack(">4sIII2s2sII", b"mluc", 0, 1, 12, b"en", b"US", len(content), 28)
    return (head + content).ljust(-(-(28 + len(content)) // 4) * 4, b"\0")
