"""Data management by Rucio."""

from idds.ddm.rucio.ddm import RucioDDM

__all__ = ["RucioDDM"]
