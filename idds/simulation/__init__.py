"""A data carousel on paper: tape libraries, network, disk and jobs as a discrete-event model.

It runs the planner that the service runs, so that windows and weights can be tried out before a disk is bought.
"""
