"""Run an artifact: one module an inference engine, behind one session."""
