"""Write TFLite files without TensorFlow."""
