"""`manage.py doctor`: what is wrong with this machine, in words, and what to do about it.

A check is a function that yields findings; `examination.CHECKS` lists them all. They run side by side, in threads, and
one that takes too long is told so: an examination ends within ten seconds.
"""
