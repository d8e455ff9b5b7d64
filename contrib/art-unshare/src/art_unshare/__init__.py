"""An isolation of ART that needs no program but Python."""
