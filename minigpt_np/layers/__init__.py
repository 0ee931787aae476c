"""One file a layer, its forward and its backward side by side.

forward(...) returns the output and a cache with named fields; backward takes the gradient of the
output and that cache, adds the parameters' gradients into the views it is given, and returns the
gradient of the input. Nothing is kept between calls.
"""
