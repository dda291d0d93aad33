"""Lower the precision of a network: int8 scales by calibration or fine-tuning, and fp16."""
