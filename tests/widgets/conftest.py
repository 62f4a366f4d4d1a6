import sys
try:
    from scilab.runs import Journal  # noqa
except ImportError:
    from tests.widgets import standin_runs
    sys.modules["scilab.runs"] = standin_runs
