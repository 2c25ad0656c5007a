"""The schema of the audit events: one class for each event, with the type and the description of each field."""
