"""What the paper proves about interleaved gradient descent, with its slips put right, and a problem to check it on."""
