"""The program behind `mcp-bridge connect NAME`. Its modules import modules of CPython in C only, because each client runs one.

`json` is imported only for a message in an unusual layout. Annotations use no `typing`, which is larger than this package.
"""
