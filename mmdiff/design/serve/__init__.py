"""The local web page: its server, its jobs, and what it shows of them."""
