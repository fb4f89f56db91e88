"""Talking to model providers: one neutral request, one neutral stream of events.

Belongs here: request and event types, one codec per wire format, the HTTP transport and the
classification of everything that can go wrong. Does not belong here: Django, storage, retries,
running tools, deciding which model or key a turn uses.
"""
