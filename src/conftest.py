"""Leave out doctests of modules whose dependency is not installed: mteb needs Python 3.11."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("mteb") else ["cenote/evaluation/*.py"]
