"""The endpoints that change something: spaces, mailboxes, messages, faults and scenarios. Each write is an event."""
