"""OpenStack Manila itself, as `python -m benchmarks.shares` runs it beside Isthmus.

Its four services, RabbitMQ, and a Keystone and a MariaDB of its own that are started just as Isthmus's are.
"""
