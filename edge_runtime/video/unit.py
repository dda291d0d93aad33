"""Write the systemd unit that keeps the derained recording of a camera going."""

from __future__ import annotations

import getpass
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from edge_runtime.errors import UsageError

OPTION = "--print-systemd-unit"
NAME = "edge-derain"
MEMORY_MAX = "1G"
"""What the service may hold. 1280x720 took up to 0.45 GB, 1920x1080 up to 0.6 GB."""
WATCHDOG_SECONDS = 60
"""Longest time without a frame: more than the first attempts to reach a camera again take."""

_PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)
_ESCAPED = re.compile(r'[\\"\x00-\x1f\x7f]')


def systemd_unit(
    argv: Sequence[str],
    source: str,
    target: Path | None,
    *,
    endless: bool = True,
    command: Sequence[str] | None = None,
    user: str | None = None,
) -> str:
    """Return the text of a unit that runs ``edge-derain`` with these arguments.

    The service says by ``sd_notify(3)`` when the first frame is done, and is restarted when it
    fails, or when no frame gets done for ``WATCHDOG_SECONDS``. It works in ``/var/lib/edge-derain``
    and writes nowhere else but to the folder of an absolute ``target``.

    Args:
        argv: Arguments of ``edge-derain``; ``OPTION`` is left out.
        source: Number of the camera, or the address of a stream.
        target: The video file; None shows frames only.
        endless: Whether it never ends by itself. One that does is started again at once.
        command: How ``edge-derain`` is started; None finds out.
        user: Whom it runs as; None is who runs this, but root is a user made for the service.

    Raises:
        UsageError: There is no file to record to, or an argument holds a NUL.
    """
    if target is None or str(target) == "-":
        raise UsageError(f"{OPTION} needs -o FILE: a service has no window, its output is a log")
    words = [*(command or _command()), *(word for word in argv if not _is_option(word))]
    if any("\0" in word for word in words):
        raise UsageError(f"{OPTION}: an argument holds a NUL character; leave it out")
    user = user or getpass.getuser()
    numbered = source.isdecimal()
    lines = [
        "[Unit]",
        f"Description=edge-derain: derained video of {_percent(_ascii(source))}",
        "Documentation=man:systemd.service(5)",
        *(() if numbered else ("Wants=network-online.target", "After=network-online.target")),
        "# A camera that is not there today may be there tomorrow: never give up.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"ExecStart={' '.join(quoted(word) for word in words)}",
        "# The first frame says READY=1; every frame done is a sign of life.",
        "Type=notify",
        "NotifyAccess=main",
        "TimeoutStartSec=120",
        f"WatchdogSec={WATCHDOG_SECONDS}",
        "# SIGTERM completes the recording; what hangs for longer than this is killed.",
        "WatchdogSignal=SIGTERM",
        "TimeoutStopSec=30",
        "TimeoutAbortSec=30",
        f"Restart={'on-failure' if endless else 'always'}",
        "RestartSec=2",
        "# A command line that is wrong stays wrong.",
        "RestartPreventExitStatus=2",
        "",
        f"MemoryMax={MEMORY_MAX}",
        "MemorySwapMax=0",
        "",
        *(["DynamicUser=yes"] if user == "root" else [f"User={_percent(user)}"]),
        *(["SupplementaryGroups=video"] if numbered else []),
        "# Relative names of outputs are below /var/lib/edge-derain.",
        f"StateDirectory={NAME}",
        f"WorkingDirectory=%S/{NAME}",
        *([f"ReadWritePaths={_quoted_path(target.parent)}"] if target.is_absolute() else []),
        "UMask=0027",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "ProtectHome=read-only",
        "PrivateTmp=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "ProtectProc=invisible",
        f"RestrictAddressFamilies=AF_UNIX{'' if numbered else ' AF_INET AF_INET6'}",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "SystemCallErrorNumber=EPERM",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    ]
    return "\n".join(lines) + "\n"


def quoted(word: str) -> str:
    """Return a word as a command line of systemd takes it for itself and nothing else.

    ``%`` begins a specifier there and ``$`` a variable; see ``systemd.service(5)``, Command lines,
    and ``systemd.syntax(7)``, Quoting.
    """
    return _in_quotes(_percent(word).replace("$", "$$"))


def _quoted_path(path: Path) -> str:
    return _in_quotes(_percent(str(path)))


def _in_quotes(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    escaped = _ESCAPED.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    return f'"{escaped}"'


def _percent(text: str) -> str:
    return text.replace("%", "%%")


def _ascii(text: str) -> str:
    """Return text for people on one line."""
    return text.encode("unicode_escape").decode("ascii")


def _is_option(word: str) -> bool:
    """Return whether a word is ``OPTION``, or short for it, as argparse takes it."""
    return len(word) > len("--pr") and OPTION.startswith(word)


def _command() -> list[str]:
    """Return how this very installation of ``edge-derain`` is started."""
    script = shutil.which(NAME, path=Path(sys.executable).parent) or shutil.which(NAME)
    return [script] if script else [sys.executable, "-m", "edge_runtime.cli"]
