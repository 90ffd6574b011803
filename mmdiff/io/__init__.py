"""Files in and out: readers, writers, pictures and pages."""
