"""What the numbers of docs/laptop.md say, in words; written after reading them."""

__all__ = ["INTRODUCTION"]

INTRODUCTION = """# The laptop's results
"""
