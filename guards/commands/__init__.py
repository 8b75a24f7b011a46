"""The commands, a file each: `add` names the options, the rest parses, calls and prints."""
