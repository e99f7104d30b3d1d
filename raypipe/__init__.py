"""raypipe: a day of hippocampus recordings, from Ripple files to the lab's analysis objects, on Ray.

import raypipe
report = raypipe.run_day("data/picasso/20181105", channels="1-32")
plan = raypipe.plan_day("data/picasso/20181105")
fields = raypipe.load("data/picasso/20181105/session01/array01/channel009/rpllfp_6eca.hkl")
"""

from raypipe._version import __version__
from raypipe.api import load, plan_day, run_day, run_days

__all__ = ["__version__", "load", "plan_day", "run_day", "run_days"]
