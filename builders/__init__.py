"""Sources to spheres.

``sources`` reads labels; ``recipe`` and ``plan`` say what is made of them; ``panorama`` makes one sphere, ``backgrounds`` what
is around its photos; ``building`` makes them all, anywhere; ``report`` shows what was made, ``publishing`` hands it on;
``procedural`` renders a source of its own.
"""
