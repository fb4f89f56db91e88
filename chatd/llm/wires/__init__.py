"""How requests and answers are written for each family of providers: one package per wire.

A wire is pure: values in, bytes and headers out, and the bytes of an answer in, events out. Which
wire a call takes is decided in `choice`.
"""
