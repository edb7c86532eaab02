"""The evaluation harness: from one file to a board.

``config`` says what is compared, ``plan`` which steps that takes and which are done, ``state`` remembers them, ``steps`` does
them, ``report`` says who beats whom, ``commands`` is the command.
"""
