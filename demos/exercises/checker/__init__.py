"""What check.py is made of. The exercises themselves are in ../templates; here are spoilers."""
