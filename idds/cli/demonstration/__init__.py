"""The demo: the data carousel on real data, watched from outside, and accounted for."""
