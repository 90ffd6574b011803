"""Files in and out: surfaces, writers, pictures, pages, console and work folders."""
