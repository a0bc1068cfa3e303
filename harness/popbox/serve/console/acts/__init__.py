"""The pages that change something: each is a form of who has entered, sent once."""
