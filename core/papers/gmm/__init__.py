"""Rain removal by Gaussian mixtures of patches (Li et al., CVPR 2016), the papers' classic."""
