"""Ctrl-C as in a terminal, and one thread a process: tests run beside each other."""

import os
import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a script put behind
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before numpy and torch are imported, which read them once; children inherit them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
