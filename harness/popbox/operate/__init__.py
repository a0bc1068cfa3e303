"""An operator's commands: what a person or a monitoring system does with a mail host that is up."""
