"""The way of every message, live: events as they were seen, journeys derived from them, and the store of both.

``model`` is the values: ``Event``, ``Journey``, ``Message``, ``Recipient``, ``Leg``. ``store.Store`` keeps the events;
the seq of the last one is the cursor. One process writes (``append``, ``batch``), threads read (``events_since``,
``journey``, ``search``, ``unfinished``), each by a connection of its own, and ``on_commit`` tells when there is more::

    with Store.open(Path("journeys.db")) as store:
        cursor = store.cursor()
        ...
        for message in store.search(Filters(to="joe@domain.com"), since=cursor):
            journey = store.journey(message)

``feeds`` reads logs and Maildirs, ``join`` makes events of what they say, and ``recorder`` runs both, pass by pass.
"""
