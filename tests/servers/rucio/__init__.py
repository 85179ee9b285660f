"""A real Rucio: its server and daemons from PyPI in an environment of their own, and a stand-in for FTS.

FTS is in no package registry. The stand-in speaks its REST API and really copies the bytes.
"""
