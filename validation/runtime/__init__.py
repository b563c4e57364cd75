"""What several folders need: process groups, files and locks, models left as they were, factories, seeds."""
