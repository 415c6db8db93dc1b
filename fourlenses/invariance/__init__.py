"""Which inputs does a network take for the same, and would a person?"""
