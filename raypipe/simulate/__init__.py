"""Days of recording that never happened: the lab's input files, made from known truth."""

from raypipe.simulate.day import simulate_day
from raypipe.simulate.settings import SimulateSettings

__all__ = ["SimulateSettings", "simulate_day"]
