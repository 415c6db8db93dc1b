"""How mixed are the classes inside a layer?"""
