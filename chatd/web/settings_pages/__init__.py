"""What people set for themselves: one module per page, and `frame` with what all of them share.

Everything is a plain form that runs one action and leads back to its page. A refused form is shown
again with what was typed, and with the reason beside the field that it is about.
"""
