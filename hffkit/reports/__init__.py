"""Images and pages that show people what was made."""
