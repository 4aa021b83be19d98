"""Accelerators that need not be there: what they are and what runs on them.

Chips and topologies, and what can be read from a program compiled for them:
its memory, its collectives and a roofline of its time.
"""
