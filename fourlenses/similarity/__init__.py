"""Which layers of which networks represent images alike?"""
