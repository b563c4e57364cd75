"""Random networks as people write them, judged against autograd.

`generate.net(seed)` writes a small torch module as Python source, with the features of real code: in place or functional,
gates, skips, norms, frozen filters, regions without gradient. `judge.judge(case)` compares what `landscape.predict` says of it
with Monte Carlo by plain autograd, which shares no code with the prediction: the prediction is right within its guarantee, or
it is refused by name, or it is a miss. `metamorphic.LAWS` are changes of a network that must not change its map.

    python -m tests.nets --count 5000 --seed 0
"""
