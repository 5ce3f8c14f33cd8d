"""ST Edge AI Developer Cloud as a backend: real boards without owning one.

No account was at hand: the protocol is that of ST's published client, and everything here was tried only against a
local stand-in (``tests/fake_cloud.py``).
"""
