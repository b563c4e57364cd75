"""The code behind the pages of docs/; it imports the packages, never the reverse."""
