"""Methods of composition: what is learned of attributes and of objects makes new pairs."""
