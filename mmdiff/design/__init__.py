"""From a target tensor to checked, printable cells."""
