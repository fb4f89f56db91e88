"""What every layer may use: errors, clock, crypto, JSON, logging context. Imports nothing of ours."""
