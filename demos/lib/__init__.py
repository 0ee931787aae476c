"""What the demos share. The lessons are the files beside this folder."""
