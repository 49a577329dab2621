"""What trials take before they are run: operations, from how often a method passes the towers."""
