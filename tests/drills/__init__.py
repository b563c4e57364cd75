"""Fault drills: small runs that are killed, starved and damaged at every named point, and then go on."""
