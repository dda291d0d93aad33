"""TFLite files, written without TensorFlow."""
