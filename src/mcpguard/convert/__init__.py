"""Turns policies of other guards into ours."""
