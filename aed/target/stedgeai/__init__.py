"""ST's command-line tool as a backend: ``stedgeai`` (ST Edge AI Core), before it ``stm32ai`` (X-CUBE-AI).

No real tool was at hand: its options and its output are known from ST's documents and from logs and command lines that
others published. What is not even in these is marked "not tried on the real tool".
"""
