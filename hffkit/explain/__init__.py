"""Maps of the pixels that a network's predictions rest on, and measures of their faithfulness."""
