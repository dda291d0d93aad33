"""Lower precision: int8 scales by calibration or fine-tuning, and fp16."""
