"""The page of what was spent, in the administration; the charts of people's own pages too."""
