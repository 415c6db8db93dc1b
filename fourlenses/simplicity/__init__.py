"""How few bits does an image need before a network no longer understands it?"""
