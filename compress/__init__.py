"""From teacher to student: operations on checkpoints, and what a network costs to run."""
