"""Reading an exported graph: values, constants, memory that is shared."""
