"""The reference, made of the code: commands from click, files from their JSON Schemas, programs from their README."""
