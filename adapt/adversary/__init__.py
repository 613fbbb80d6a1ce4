"""Training methods, one file each; they share the ball, the perturbation and the ascent (adapt.perturbation)."""
