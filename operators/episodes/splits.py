"""The splits of the board: what is tested apart, in the order of papers, and in words."""

ALL, BASE, NEW, H, CLOSED, OPEN, AVERAGE = "all", "base", "new", "H", "closed", "open", "AVERAGE"
WORDS = {
    ALL: "all classes",
    BASE: "base classes",
    NEW: "new classes",
    H: "H, harmonic mean of base and new",
    CLOSED: "closed world",
    OPEN: "open world",
    AVERAGE: "average of the targets",
}
ORDER = tuple(WORDS)  # targets stand before their average
LEADING = (AVERAGE, H, ALL, BASE, CLOSED)  # what methods are ranked by: the first that is there
BESIDE = (NEW, OPEN)  # nobody is ranked by these
