"""Engines that run an artifact: one module each, behind one kind of session."""
