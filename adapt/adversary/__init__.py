"""Training methods: one file each, over the ball, the perturbation and the attacks that they share."""
