"""What every layer may use: errors, clock, crypto, fields, logging context, threads."""
