"""Generators: parameters, sample noise and conditioning to images."""
