"""Tables in, figures out: everything here reads rows of adapt.results and imports no training code."""
