"""Run `mcp-bridge` as `python -m mcpbridged`."""

from mcpbridged.bridge.commands.start import main

if __name__ == "__main__":
    main()
