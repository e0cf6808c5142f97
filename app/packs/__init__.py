"""Hospital packs: a folder of tables and settings, read into the engine's values or refused with everything that is wrong with it."""
