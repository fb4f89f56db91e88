"""What people may spend on models: limits, who is over one, and what was spent by day."""
