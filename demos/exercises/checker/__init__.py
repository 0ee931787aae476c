"""What check.py is made of. The exercises themselves are in ../statements; here are spoilers."""
