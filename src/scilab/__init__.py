"""scilab: run AI-for-science work by hand and eye in JupyterLab."""

__version__ = "0.1.0"
