"""What the services share: configuration, auth, policy, secrets, database, outbox, engine, HTTP, errors, telemetry."""
