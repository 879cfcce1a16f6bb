"""The heart of the hub: values, pure decisions and the engine. Imports the standard library only."""
