"""The stand-in's queue on disk: accepted mail survives a crash."""
