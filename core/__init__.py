"""Training of networks that remove rain: data, rain, networks, the loop, scores, ``derain``."""
