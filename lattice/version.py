"""The version of pilcro: `pyproject.toml`, `pilcro.__version__`, `pilcro --version` and every written file read it here."""

__all__ = ["__version__"]

__version__ = "0.2.0"
