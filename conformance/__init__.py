"""Other projects' own test suites, run against this one: what a client may rely on, judged by somebody else.

`python -m conformance.shares` runs OpenStack's suite for shared file systems (manila-tempest-plugin). The suites are
installed into a virtual environment of their own, below build/, and are no dependency of Isthmus.
"""
