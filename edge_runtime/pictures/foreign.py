"""Files that are no pictures which can be read: what they are, by their first bytes."""

from __future__ import annotations

import re

_UNREAD = "is {}, which is not read; convert it to JPEG or PNG"
RAW = _UNREAD.format("a raw photograph")
"""Told of a TIFF without pages, too."""
_NAMES = {  # the more exact ones first
    rb".{4}ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)": "HEIC",
    rb".{4}ftypcrx |IIR[OS]|IIU\0|FUJIFILMCCD|FOVb|II\*\0.{4}CR": "a raw photograph",
    rb".{4}JXL |\xff\n": "JPEG XL",
    rb".{4}jP  |\xff\x4f\xff\x51": "JPEG 2000",
    rb"II\xbc\x01": "JPEG XR",
    rb"GIF8": "GIF",
    rb"8BPS": "a Photoshop document",
    rb"%PDF": "PDF",
    rb"v/1\x01": "OpenEXR",
    rb"#\?R": "Radiance HDR",
    rb"\0\0[\x01\x02]\0": "an icon",
    rb"(?i)(?:\xef\xbb\xbf)?\s*(?=<)[^\0]*?<(?:html|head|body|!doctype html)": "a web page",
    rb"(?i)(?:\xef\xbb\xbf)?\s*(?=<)[^\0]*?<svg": "SVG",
    rb".{4}(?:ftyp|moov|mdat|wide)|\x1aE\xdf\xa3|RIFF.{4}AVI |FLV\x01|OggS|G.{187}G": "a video",
    rb"\0\0\x01[\xb3\xba]|\0?\0\0\x01[\x09\x27\x40\x67]": "a video",
}
_REMEDIES = {
    "a web page": "is a web page, not a picture; download the picture itself",
    "a video": "is a video, not a picture; give it a name that ends in .mp4, .mkv or the like",
}
_LOOKED_AT = 1024  # bytes


def what_it_is(data: bytes) -> str:
    """Return what to tell about a file that is none of the formats, and what to do with it."""
    for beginning, name in _NAMES.items():
        if re.match(beginning, data[:_LOOKED_AT], re.DOTALL):
            return _REMEDIES.get(name, _UNREAD.format(name))
    return "not a picture that can be read; use JPEG, PNG, WebP, TIFF, BMP or AVIF"
