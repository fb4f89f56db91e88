"""Testing kit: model providers that run on loopback and do what a test asks.

Belongs here: fake providers, misbehaving providers, replay of recorded traffic and the offline
demo model. Does not belong here: Django, the code under test, anything that reaches a network.
"""
