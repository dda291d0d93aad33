"""Recipes: a student from beginning to end in ordered steps, resumable, planned beforehand."""
