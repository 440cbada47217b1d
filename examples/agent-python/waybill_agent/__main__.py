"""python -m waybill_agent, configured as `waybill agent` is."""

import os

from .agent import Agent

Agent(dict(os.environ)).run()
