"""What the server offers: its tools as it describes them, and what a policy says about them."""
