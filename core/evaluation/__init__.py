"""Score a checkpoint on named data sets, and write what the scores leave behind."""
