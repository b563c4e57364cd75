"""Commands about networks: their maps, fields, paths and advice."""
