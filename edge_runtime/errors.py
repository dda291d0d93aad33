"""The exceptions of the project: one line each, naming the thing, the value and the remedy."""

from __future__ import annotations

import re
import shlex


class EdgeDerainError(Exception):
    """Base of every error that a command prints as one line, without a traceback."""

    exit_code = 1


class UsageError(EdgeDerainError):
    """Arguments that cannot be carried out as given."""

    exit_code = 2


class ImageError(EdgeDerainError):
    """A picture that cannot be read, written or processed."""


class VideoError(EdgeDerainError):
    """A video, camera or stream that cannot be read, written or kept open."""


class SourceLostError(VideoError):
    """A camera or stream that broke off and did not come back."""


class MetricError(EdgeDerainError, ValueError):
    """Pictures that cannot be compared: shapes, dtypes or sizes do not fit."""


class CardError(EdgeDerainError):
    """A card that is missing, malformed or does not match its artifact."""


class RecordError(EdgeDerainError):
    """A JSON file of results or of a reference set that is malformed or of a newer version."""


class ReferenceSetError(EdgeDerainError):
    """A reference set that is missing, incomplete or changed."""


class ModelNotFoundError(EdgeDerainError):
    """No shipped model has this name, and no file is at this path."""

    exit_code = 2


class SessionError(EdgeDerainError):
    """An engine that refuses an artifact or answers with something else than a picture."""


class TuneError(EdgeDerainError):
    """Times that cannot be measured or remembered."""


class MissingExtraError(EdgeDerainError):
    """A package that is not installed: one of its own, or one of many of an optional extra.

    The line tells how to install all that is missing of the extra. It names the libraries, because
    no index holds this package.
    """

    def __init__(self, package: str, extra: str) -> None:
        wanted = " ".join(map(shlex.quote, _missing(extra) or [_distribution(package)]))
        super().__init__(f"{package} is not installed; run: pip install {wanted}")
        self.package = package
        self.extra = extra


def _distribution(package: str) -> str:
    """Return what pip calls a package, as far as it is known here."""
    from importlib import metadata

    return metadata.packages_distributions().get(package, [package])[0]


def _missing(extra: str) -> list[str]:
    """Return what is required by an extra, or by the package itself, and not installed."""
    from importlib import metadata  # slow, and needed for this alone

    try:
        requirements = metadata.requires("edge-derain") or []
    except metadata.PackageNotFoundError:
        return []
    missing = []
    for requirement in requirements:
        wanted, _, marker = requirement.partition(";")
        if re.findall(r"extra == ['\"](\S+)['\"]", marker) != [extra] * bool(extra):
            continue
        inner = re.fullmatch(r"edge-derain\[(.+)\]", wanted.strip())
        if inner is not None:
            missing += [each for name in inner[1].split(",") for each in _missing(name)]
            continue
        try:
            metadata.version(re.split(r"[^\w.-]", wanted)[0])
        except metadata.PackageNotFoundError:
            missing.append(wanted.strip())
    return list(dict.fromkeys(missing))
