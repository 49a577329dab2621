"""Methods of image classification, a folder a family."""
