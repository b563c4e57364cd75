"""Prediction against measurement: verdicts, exact judges, figures."""
