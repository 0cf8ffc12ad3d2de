"""A model server that follows a script and speaks the providers' wire formats over real HTTP.

It ships with the product: demo, tests and chaos use it wherever a real model would cost money or chance.
"""
