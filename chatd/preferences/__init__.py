"""Settings of the deployment and of people: one registry, two tables, read anew each time."""
