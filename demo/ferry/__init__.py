"""The ferry company's software."""
