"""The world: pictures of shapes, letters, digits, symbols and icons, with their captions.

An endless source of image-text pairs, drawn by our own code from fonts that pip packages bring.
Every picture is a pure function of a seed and a number, so nothing has to be stored. What
pretraining never sees is named in `vocabulary.py`, and the embedded sets of `data_catalog/datasets`
are drawn from it.

Import from the modules: the cards of those sets need none of the libraries that painting does.
"""
