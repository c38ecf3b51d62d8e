"""What tells two files of a launch apart: causes first, then what follows from them."""
