"""Make a student from beginning to end: ordered steps, resumable, planned beforehand."""
