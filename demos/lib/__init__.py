"""Code that two or more of the demos share."""
