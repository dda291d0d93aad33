"""Video files and cameras, derained frame by frame."""
