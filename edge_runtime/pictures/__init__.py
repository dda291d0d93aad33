"""Picture files: one, a folder of them, and what appears in a folder."""
