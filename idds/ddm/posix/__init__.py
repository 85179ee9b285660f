"""Data management on the folders of one machine, with emulated tapes: for the demo, small sites and tests."""

from idds.ddm.posix.ddm import PosixDDM
from idds.ddm.posix.drives import TapeStatistics
from idds.ddm.posix.options import PosixOptions

__all__ = ["PosixDDM", "PosixOptions", "TapeStatistics"]
