"""Guests and clouds that the demonstration, the tests, the chaos runs and the benchmarks use."""
