"""The store on disk: where everything lies, and whether it is whole."""
