"""`python -m agents.conductor [SETTINGS.toml]`: this agent alone, beside others on one PostgreSQL."""

import sys

from agents.alone import run_alone
from agents.conductor import agent

sys.exit(run_alone(agent, sys.argv[1:], outside=False, bus=True))
