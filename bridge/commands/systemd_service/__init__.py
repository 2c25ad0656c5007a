"""The command `service`: install, uninstall and show the systemd service of the user."""
