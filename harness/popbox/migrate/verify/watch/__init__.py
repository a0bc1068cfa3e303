"""After the switch: does the old host still get mail that the new one has not?"""
